import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { CHART, KUBE_VERSION } from '../../deploy/generate/deploy-files.ts'
import { helm } from '../../deploy/generate/helm.ts'
import { ALL_ON } from '../harness/cluster/chart.ts'

// Building helm, once on a machine, takes minutes.
t.setTimeout(900_000)

t.test('the notes say what to do next, and warn of what is open', async (t) => {
  const chart = withNotesAsManifest(t)
  const notes = async (...args: string[]) => {
    const only = '--show-only=templates/notes.yaml'
    const { stdout } = await helm('template', 'x', chart, KUBE_VERSION, only, ...args)
    return (parse(stdout) as { notes: string }).notes
  }
  t.match(await notes(), /bao write auth\/kubernetes\/role\/my-app/)
  t.match(await notes(), /vault\.address is not set/)
  t.notMatch(await notes('--set=vault.address=https://v'), /vault\.address is not set|Warning/)
  t.match(
    await notes(ALL_ON),
    /Warning: vault\.skipVerify.*Warning: allow\.addresses.*Note: secretSync\.enabled/s,
  )
})

/** helm shows notes only with a cluster at hand: here they are a manifest of a copy of the chart. */
function withNotesAsManifest(t: { teardown(after: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), 'vault-files-csi-chart-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  cpSync(CHART, folder, { recursive: true })
  const notes = readFileSync(join(folder, 'templates/NOTES.txt'), 'utf8')
  writeFileSync(join(folder, 'templates/_notes.tpl'), `{{- define "notes" -}}${notes}{{- end -}}`)
  writeFileSync(join(folder, 'templates/notes.yaml'), '{{ dict "notes" (include "notes" .) | toYaml }}')
  return folder
}
