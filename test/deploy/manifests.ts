import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { chartFiles, plainManifests, ROOT } from '../support/deploy-files.ts'

const run = promisify(execFile)

t.setTimeout(900_000)

t.test("the chart's copies equal what they are copies of", async (t) => {
  for (const [path, text] of chartFiles()) t.equal(onDisk(path), text, `${path}: run npm run manifests`)
})

t.test('the plain manifests are what the chart renders', async (t) => {
  const rendered = await plainManifests()
  for (const [path, text] of rendered) t.equal(onDisk(path), text, `${path}: run npm run manifests`)
  const present = readdirSync(join(ROOT, 'deploy/manifests')).map((file) => `deploy/manifests/${file}`)
  t.strictSame(present.sort(), [...rendered.keys()].sort(), 'and no others are there')
})

t.test(
  'an API server takes the plain manifests',
  {
    skip: process.env.KUBECONFIG ? false : 'KUBECONFIG is not set',
  },
  async (t) => {
    // In a dry run the namespace never comes to be: its objects go where there is one.
    for (const path of (await plainManifests()).keys()) {
      const text = onDisk(path).replaceAll('namespace: vault-files-csi', 'namespace: default')
      await t.resolves(dryRun(text), path)
    }
  },
)

function onDisk(path: string): string {
  const file = join(ROOT, path)
  return existsSync(file) ? readFileSync(file, 'utf8') : ''
}

async function dryRun(text: string): Promise<void> {
  const applied = run('kubectl', ['apply', '--dry-run=server', '--validate=strict', '--filename=-'])
  applied.child.stdin?.end(text)
  await applied
}
