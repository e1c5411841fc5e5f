import { FaultError } from '../core/errors.ts'
import type { FileSpec, ImportSpec } from '../core/import.ts'
import { isJsonObject } from '../core/json.ts'
import type { Clock, Identity, SecretData } from '../core/ports.ts'
import { renderFiles } from '../core/render.ts'
import type { Connections } from '../vault/connections.ts'
import { factsOf } from '../vault/facts.ts'
import { answerFacts } from '../vault/faults.ts'
import type { VaultToken } from '../vault/login.ts'
import { readPath } from '../vault/store.ts'
import type { Answer } from '../vault/transport.ts'
import { ok, type Report, skipped, type Verdict, valueIn, warn } from './report.ts'

type Deps = {
  report: Report
  connections: Connections
  clock: Clock
  identity: Identity
  token: VaultToken
}

/** Capabilities that let a path be read. */
const reading = ['read', 'root']

/** Checks policy, path and files of the import, without showing a value. */
export async function examineSecrets(deps: Deps, spec: ImportSpec, signal: AbortSignal): Promise<void> {
  const { report } = deps
  for (const path of new Set(spec.files.map((file) => file.path))) {
    const files = spec.files.filter((file) => file.path === path)
    const policy = await report.run(`policy ${path}`, () => checkPolicyOf(deps, path, signal))
    if (policy.outcome === 'fail') {
      report.skip(
        [`read ${path}`, ...files.map(({ name }) => `file ${name}`)],
        'the policy does not grant it',
      )
      continue
    }
    const read = await report.run(`read ${path}`, () => checkPath(deps, spec, files, path, signal))
    const answer = valueIn(read)
    for (const file of files) {
      const name = `file ${file.name}`
      if (answer === undefined) report.skip([name], `${path} cannot be read`)
      else await report.run(name, () => checkFile(spec, file, answer))
    }
  }
}

/** @throws FaultError read_denied */
async function checkPolicyOf(deps: Deps, path: string, signal: AbortSignal): Promise<Verdict> {
  const { connections, identity, token } = deps
  const facts = { ...factsOf(identity), path }
  const answer = await connections.call(
    {
      operation: 'probe',
      endpoint: identity.endpoint,
      method: 'POST',
      path: 'sys/capabilities-self',
      body: { paths: [path] },
      token: token.token,
      facts,
      judge: (given: Answer) => given,
    },
    signal,
  )
  const capabilities = capabilitiesIn(answer, path)
  if (capabilities === undefined) {
    const { words } = answerFacts(answer)
    return skipped(
      `the role's policies do not let it ask (sys/capabilities-self)${words ? `: ${words}` : ''}`,
    )
  }
  if (!reading.some((capability) => capabilities.includes(capability))) {
    throw new FaultError('read_denied', facts)
  }
  return ok(`the policies of role "${identity.role}" grant ${capabilities.join(', ')}`)
}

function capabilitiesIn({ status, body }: Answer, path: string): string[] | undefined {
  const data = isJsonObject(body) && isJsonObject(body.data) ? body.data : undefined
  const list = status === 200 ? (data?.[path] ?? data?.capabilities) : undefined
  return Array.isArray(list) ? list.filter((entry) => typeof entry === 'string') : undefined
}

/** What the path holds, or the fault that the import tolerates. @throws FaultError read_denied, path_not_found, … */
async function checkPath(
  { connections, clock, identity, token }: Deps,
  spec: ImportSpec,
  files: readonly FileSpec[],
  path: string,
  signal: AbortSignal,
): Promise<Verdict<SecretData | FaultError>> {
  try {
    const data = await readPath(connections, clock, identity, path, token, signal)
    const version = data.version === undefined ? '' : `, version ${data.version}`
    const { size } = data.values
    return ok(`${size} ${size === 1 ? 'key' : 'keys'}${version}`, data)
  } catch (error) {
    const isAbsent =
      error instanceof FaultError && (error.fault === 'path_not_found' || error.fault === 'version_deleted')
    const isTolerated = spec.missingPolicy === 'Ignore' || files.every((file) => file.optional)
    if (!isAbsent || !isTolerated) throw error
    const [what = ''] = error.message.split('; ')
    return warn(`${what}; the import tolerates it`, 'write the secret when it is wanted', error)
  }
}

/** @throws FaultError key_missing, decode_failed, and the path's own */
function checkFile(spec: ImportSpec, file: FileSpec, answer: SecretData | FaultError): Verdict {
  const [rendered] = renderFiles({ ...spec, files: [file] }, () => answer, undefined)
  if (rendered !== undefined) return ok(`from key "${file.key}" of ${file.path}`)
  return warn(
    `key "${file.key}" of ${file.path} is not there; the import tolerates it, and there is no such file`,
    'write the key when it is wanted',
  )
}
