import { FaultError } from '../../core/faults/fault.ts'
import type { Call, IssueRequest } from '../../core/imports/calls.ts'
import type { FileSpec, ImportSpec } from '../../core/imports/import.ts'
import { credentialRequest } from '../../core/imports/needs.ts'
import type { Sandbox } from '../../core/ports/sandbox.ts'
import type { SecretData } from '../../core/ports/vault.ts'
import type { RenderedFile } from '../../core/ports/volume.ts'
import { ok, type Report, type Verdict, warn } from './report.ts'

/** Leases are issued only to pods; the doctor requests none. */
export const NOT_TRIED = 'issued when a pod mounts it, not tried'

type Deps = {
  report: Report
  /** Successful reads and tolerated faults, by the key of the call. */
  answers: ReadonlyMap<string, SecretData | FaultError>
  requests: readonly IssueRequest[]
  vaultAddr: string
  authority: string | undefined
  sandbox: Pick<Sandbox, 'render'>
}

/** Renders each file of the import whose secrets could be read, one by one, without printing any. */
export async function checkFiles(deps: Deps, spec: ImportSpec, signal: AbortSignal): Promise<void> {
  const nothing = { ...spec, files: [], dataFrom: [], credentials: [], secretSync: [] }
  for (const file of spec.files) {
    const calls = [file.call, ...file.named.map(({ call }) => call)]
    await checkIfRead(deps, `file ${file.name}`, calls, () =>
      checkFile(deps, { ...nothing, files: [file] }, file, signal),
    )
  }
  for (const entry of spec.dataFrom) {
    const { path } = entry.call
    await checkIfRead(deps, `files of ${path}`, [entry.call], async () => {
      const files = await render(deps, { ...nothing, dataFrom: [entry] }, signal)
      const names = files.map(({ name }) => name)
      return ok(names.length === 0 ? 'none' : `${entry.format}: ${names.join(', ')}`)
    })
  }
  for (const credential of spec.credentials) {
    const name = `file ${credential.name}`
    if (credentialRequest(credential)) deps.report.skip([name], NOT_TRIED)
    else
      await deps.report.run(name, async () => {
        await render(deps, { ...nothing, credentials: [credential] }, signal)
        return ok(credential.format)
      })
  }
}

async function checkIfRead(
  { report, answers, requests }: Deps,
  name: string,
  calls: readonly Call[],
  check: () => Promise<Verdict>,
): Promise<void> {
  const unread = calls.find(({ key }) => !answers.has(key))
  if (calls.some(({ key }) => requests.some((request) => request.key === key))) report.skip([name], NOT_TRIED)
  else if (unread !== undefined) report.skip([name], `${unread.path} cannot be read`)
  else await report.run(name, check)
}

/** @throws FaultError key_missing, decode_failed, template_failed, and the tolerated fault of the path */
async function checkFile(
  deps: Deps,
  spec: ImportSpec,
  { key, call }: FileSpec,
  signal: AbortSignal,
): Promise<Verdict> {
  const [rendered] = await render(deps, spec, signal)
  const from = key === undefined ? `the template, with ${call.path}` : `key "${key}" of ${call.path}`
  if (rendered !== undefined) return ok(`from ${from}`)
  const what = key === undefined ? call.path : from
  return warn(
    `${what} is missing; the import tolerates it and the file is not written`,
    'write it to Vault if it is needed',
  )
}

function render(
  { answers, vaultAddr, authority, sandbox }: Deps,
  spec: ImportSpec,
  signal: AbortSignal,
): Promise<RenderedFile[]> {
  const of = (key: string) => answers.get(key) ?? new FaultError('path_not_found', {})
  // Files are rendered one by one: whether all of them fit is checked when a pod mounts them.
  const volume = { updateMode: spec.updateMode, gid: undefined, sizeBytes: Number.POSITIVE_INFINITY }
  return sandbox.render(spec, { of, vaultAddr, authority }, volume, signal)
}
