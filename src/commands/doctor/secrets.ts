import { FaultError } from '../../core/faults/fault.ts'
import type { Call } from '../../core/imports/calls.ts'
import type { ImportSpec } from '../../core/imports/import.ts'
import { needsOf } from '../../core/imports/needs.ts'
import { isJsonObject } from '../../core/json/json.ts'
import type { Clock } from '../../core/ports/clock.ts'
import type { Sandbox } from '../../core/ports/sandbox.ts'
import type { Identity, SecretData } from '../../core/ports/vault.ts'
import type { Connections } from '../../vault/connections.ts'
import { answerFacts } from '../../vault/faults.ts'
import { readPath } from '../../vault/read.ts'
import { identityFacts } from '../../vault/request.ts'
import type { VaultToken } from '../../vault/response-data.ts'
import type { Answer } from '../../vault/transport.ts'
import { checkFiles, NOT_TRIED } from './files.ts'
import { ok, type Report, skipped, type Verdict, valueIn, warn } from './report.ts'

type Deps = {
  report: Report
  connections: Connections
  clock: Clock
  identity: Identity
  token: VaultToken
  sandbox: Pick<Sandbox, 'render'>
}

/** Capabilities for a method; any of them will do, since engines differ. */
const capabilitiesFor = {
  GET: ['read', 'root'],
  PUT: ['update', 'create', 'root'],
  POST: ['update', 'create', 'root'],
} as const satisfies Record<Call['method'], readonly string[]>

/** Checks policies, paths and files of the import, without printing a value or issuing credentials. */
export async function checkSecrets(deps: Deps, spec: ImportSpec, signal: AbortSignal): Promise<void> {
  const { report, connections, identity, sandbox } = deps
  const { reads, issueRequests } = needsOf(spec, () => false)
  const answers = new Map<string, SecretData | FaultError>()
  for (const call of reads) {
    const policy = await report.run(`policy ${call.path}`, () => checkCapabilities(deps, call, signal))
    if (policy.outcome === 'fail') {
      report.skip([`read ${call.key}`], 'the policy does not grant it')
      continue
    }
    const read = await report.run(`read ${call.key}`, () => checkRead(deps, spec, call, signal))
    const answer = valueIn(read)
    if (answer !== undefined) answers.set(call.key, answer)
  }
  for (const request of issueRequests) {
    if (request.kind !== 'call') continue
    const { call } = request
    await report.run(`policy ${call.path}`, () => checkCapabilities(deps, call, signal))
    report.skip([`${call.method === 'GET' ? 'lease' : 'issue'} ${call.path}`], NOT_TRIED)
  }
  const { address: vaultAddr } = identity.endpoint
  const authority = connections.authority(identity.endpoint)
  await checkFiles({ report, answers, requests: issueRequests, vaultAddr, authority, sandbox }, spec, signal)
}

/** @throws FaultError read_denied */
async function checkCapabilities(
  { connections, identity, token }: Deps,
  { path, method }: Call,
  signal: AbortSignal,
): Promise<Verdict> {
  const facts = { ...identityFacts(identity), path }
  const answer = await connections.call(
    {
      operation: 'probe',
      asker: identity.podNamespace,
      endpoint: identity.endpoint,
      method: 'POST',
      path: 'sys/capabilities-self',
      body: { paths: [path] },
      token: token.token,
      facts,
      parse: (given: Answer) => given,
    },
    signal,
  )
  const capabilities = capabilitiesIn(answer, path)
  if (capabilities === undefined) {
    const { serverMessage } = answerFacts(answer)
    return skipped(
      `the role's policies do not allow sys/capabilities-self${serverMessage ? `: ${serverMessage}` : ''}`,
    )
  }
  const [capability] = capabilitiesFor[method]
  if (!capabilitiesFor[method].some((one) => capabilities.includes(one))) {
    throw new FaultError('read_denied', { ...facts, capability })
  }
  return ok(`the policies of role "${identity.role}" grant ${capabilities.join(', ')}`)
}

function capabilitiesIn({ status, body }: Answer, path: string): string[] | undefined {
  const data = isJsonObject(body) && isJsonObject(body.data) ? body.data : undefined
  const list = status === 200 ? (data?.[path] ?? data?.capabilities) : undefined
  return Array.isArray(list) ? list.filter((entry) => typeof entry === 'string') : undefined
}

/** Reads the path; a tolerated fault is the value of a warning. @throws FaultError read_denied, path_not_found, … */
async function checkRead(
  { connections, clock, identity, token }: Deps,
  spec: ImportSpec,
  call: Call,
  signal: AbortSignal,
): Promise<Verdict<SecretData | FaultError>> {
  try {
    const data = await readPath(connections, clock, identity, call.key, token, signal)
    const version = data.version === undefined ? '' : `, version ${data.version}`
    const lease = data.lease === undefined ? '' : ', leased: each pod gets its own'
    const { size } = data.values
    return ok(`${size} ${size === 1 ? 'key' : 'keys'}${version}${lease}`, data)
  } catch (error) {
    const isAbsent =
      error instanceof FaultError && (error.fault === 'path_not_found' || error.fault === 'version_deleted')
    if (!isAbsent || !isTolerated(spec, call)) throw error
    const [what = ''] = error.message.split('; ')
    return warn(`${what}; the import tolerates it`, 'write the secret if it is needed', error)
  }
}

/** Whether every file that uses the call's answer may be absent. */
function isTolerated({ missingPolicy, files, dataFrom }: ImportSpec, { key }: Call): boolean {
  if (missingPolicy === 'Ignore') return true
  const users = files.filter(({ call, named }) => [call, ...named.map((one) => one.call)].some(isCalled))
  function isCalled(call: Call): boolean {
    return call.key === key
  }
  return users.every((file) => file.optional) && !dataFrom.some((entry) => isCalled(entry.call))
}
