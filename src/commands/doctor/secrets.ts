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
import { examineFiles, NOT_TRIED } from './files.ts'
import { ok, type Report, skipped, type Verdict, valueIn, warn } from './report.ts'

type Deps = {
  report: Report
  connections: Connections
  clock: Clock
  identity: Identity
  token: VaultToken
  sandbox: Pick<Sandbox, 'render'>
}

/** What a policy must grant for a method, whichever of them the engine asks for. */
const granting = {
  GET: ['read', 'root'],
  PUT: ['update', 'create', 'root'],
  POST: ['update', 'create', 'root'],
} as const satisfies Record<Call['method'], readonly string[]>

/** Checks policy, paths and files of the import, without showing a value and without having anything issued. */
export async function examineSecrets(deps: Deps, spec: ImportSpec, signal: AbortSignal): Promise<void> {
  const { report, connections, identity, sandbox } = deps
  const { reads, issueRequests } = needsOf(spec, () => false)
  const answers = new Map<string, SecretData | FaultError>()
  for (const call of reads) {
    const policy = await report.run(`policy ${call.path}`, () => checkPolicyOf(deps, call, signal))
    if (policy.outcome === 'fail') {
      report.skip([`read ${call.key}`], 'the policy does not grant it')
      continue
    }
    const read = await report.run(`read ${call.key}`, () => checkPath(deps, spec, call, signal))
    const answer = valueIn(read)
    if (answer !== undefined) answers.set(call.key, answer)
  }
  for (const request of issueRequests) {
    if (request.kind !== 'call') continue
    const { call } = request
    await report.run(`policy ${call.path}`, () => checkPolicyOf(deps, call, signal))
    report.skip([`${call.method === 'GET' ? 'lease' : 'issue'} ${call.path}`], NOT_TRIED)
  }
  const { address: vaultAddr } = identity.endpoint
  const authority = connections.authority(identity.endpoint)
  await examineFiles(
    { report, answers, requests: issueRequests, vaultAddr, authority, sandbox },
    spec,
    signal,
  )
}

/** @throws FaultError read_denied */
async function checkPolicyOf(
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
    const { words } = answerFacts(answer)
    return skipped(
      `the role's policies do not let it ask (sys/capabilities-self)${words ? `: ${words}` : ''}`,
    )
  }
  const [capability] = granting[method]
  if (!granting[method].some((one) => capabilities.includes(one))) {
    throw new FaultError('read_denied', { ...facts, capability })
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
    return warn(`${what}; the import tolerates it`, 'write the secret when it is wanted', error)
  }
}

/** Whether everything that is made of the call's answer may be absent. */
function isTolerated({ missingPolicy, files, dataFrom }: ImportSpec, { key }: Call): boolean {
  if (missingPolicy === 'Ignore') return true
  const users = files.filter(({ call, named }) => [call, ...named.map((one) => one.call)].some(isAsked))
  function isAsked(call: Call): boolean {
    return call.key === key
  }
  return users.every((file) => file.optional) && !dataFrom.some((entry) => isAsked(entry.call))
}
