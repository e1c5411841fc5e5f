import type { Facts } from '../core/faults/facts.ts'
import { FaultError } from '../core/faults/fault.ts'
import type { IssueRequest } from '../core/imports/calls.ts'
import { isJsonObject, jsonToNumber } from '../core/json/json.ts'
import type { Json } from '../core/json/types.ts'
import type { Value } from '../core/json/value.ts'
import type { IssueResponse } from '../core/ports/leases.ts'
import type { SecretData } from '../core/ports/vault.ts'
import { SecretText } from '../core/secret.ts'
import { errorText } from './faults.ts'
import type { Send } from './request.ts'
import type { Answer } from './transport.ts'

export type SecretIdRequest = Extract<IssueRequest, { kind: 'secret-id' }>

/** Seconds for which an application may unwrap a secret ID. */
const WRAP_SECONDS = 60

/**
 * A new secret ID of the requested AppRole, with its role ID.
 * @param now milliseconds since the Unix epoch
 * @throws FaultError read_denied, credential_refused, …
 */
export async function issueSecretId(
  send: Send,
  request: SecretIdRequest,
  now: number,
  signal: AbortSignal,
): Promise<IssueResponse> {
  const role = `auth/${request.authPath}/role/${request.role}`
  const parseError = (answer: Answer, facts: Facts) => missingRole(request, answer, facts)
  const roleId = await send(
    {
      operation: 'read',
      method: 'GET',
      path: `${role}/role-id`,
      parse: (answer, facts) => textIn(dataOf(answer), 'role_id', facts),
      parseError,
    },
    signal,
  )
  const made = await send(
    {
      operation: 'issue',
      method: 'POST',
      path: `${role}/secret-id`,
      body: {},
      ...(request.isWrapped ? { headers: { 'X-Vault-Wrap-TTL': `${WRAP_SECONDS}s` } } : {}),
      parse: request.isWrapped ? wrappedSecretId : plainSecretId,
      parseError,
    },
    signal,
  )
  const expiresAt = made.seconds > 0 ? now + made.seconds * 1000 : undefined
  const values = new Map<string, Value>([['roleId', roleId], ...made.values])
  return { data: { values, version: undefined }, vaultLease: undefined, expiresAt, needsToken: true }
}

type Made = { values: [string, Value][]; seconds: number }

function plainSecretId(answer: Answer, facts: Facts): Made {
  const data = dataOf(answer)
  return {
    values: [
      ['secretId', textIn(data, 'secret_id', facts)],
      ['accessor', textIn(data, 'secret_id_accessor', facts)],
    ],
    seconds: jsonToNumber(data?.secret_id_ttl) ?? 0,
  }
}

function wrappedSecretId(answer: Answer, facts: Facts): Made {
  const wrap = isJsonObject(answer.body) ? answer.body.wrap_info : undefined
  const info = isJsonObject(wrap) ? wrap : undefined
  const seconds = jsonToNumber(info?.ttl) ?? WRAP_SECONDS
  return {
    values: [
      ['wrappedSecretId', textIn(info, 'token', facts)],
      ['ttl', { json: String(seconds) }],
    ],
    seconds,
  }
}

/**
 * Destroys what issueSecretId made. A wrapped one that the application has unwrapped is the application's.
 * @param unwrap asks with the wrapping token
 * @throws FaultError
 */
export async function destroySecretId(
  send: Send,
  sendWith: (token: SecretText) => Send,
  request: SecretIdRequest,
  { values }: SecretData,
  signal: AbortSignal,
): Promise<void> {
  const accessor = request.isWrapped ? await unwrapAccessor(sendWith, values, signal) : values.get('accessor')
  if (typeof accessor !== 'string') return
  await send(
    {
      operation: 'revoke',
      method: 'POST',
      path: `auth/${request.authPath}/role/${request.role}/secret-id-accessor/destroy`,
      body: { secret_id_accessor: accessor },
      parse: () => undefined,
      parseError: (answer) => (isGone(answer) ? { result: undefined } : undefined),
    },
    signal,
  )
}

/** The role, or the secret ID under it, is not there any more: OpenBao says so with a 500. */
function isGone(answer: Answer): boolean {
  return answer.status === 404 || /accessor entry|does not exist/.test(errorText(answer))
}

/** undefined: unwrapped or ended already. */
async function unwrapAccessor(
  sendWith: (token: SecretText) => Send,
  values: SecretData['values'],
  signal: AbortSignal,
): Promise<string | undefined> {
  const wrapping = values.get('wrappedSecretId')
  if (typeof wrapping !== 'string') return undefined
  return sendWith(new SecretText(wrapping))(
    {
      operation: 'revoke',
      method: 'POST',
      path: 'sys/wrapping/unwrap',
      body: {},
      parse: (answer, facts) => textIn(dataOf(answer), 'secret_id_accessor', facts),
      parseError: ({ status }) => (status === 400 || status === 403 ? { result: undefined } : undefined),
    },
    signal,
  )
}

function missingRole(
  { role, authPath }: SecretIdRequest,
  answer: Answer,
  facts: Facts,
): FaultError | undefined {
  if (answer.status === 404 || answer.status === 405) {
    return new FaultError('credential_refused', {
      ...facts,
      reason: `there is no AppRole "${role}" at auth/${authPath}`,
      setting: `correct role and authPath in spec.credentials, or create it (\`bao write -f auth/${authPath}/role/${role}\`)`,
    })
  }
  if (answer.status !== 400) return undefined
  return new FaultError('credential_refused', {
    ...facts,
    reason: `AppRole "${role}" at auth/${authPath} gives no secret ID`,
    setting: `correct the AppRole (\`bao read auth/${authPath}/role/${role}\`)`,
  })
}

function dataOf(answer: Answer): { [key: string]: Json } | undefined {
  const data = isJsonObject(answer.body) ? answer.body.data : undefined
  return isJsonObject(data) ? data : undefined
}

/** @throws FaultError vault_error */
function textIn(object: { [key: string]: Json } | undefined, key: string, facts: Facts): string {
  const value = object?.[key]
  if (typeof value === 'string' && value !== '') return value
  throw new FaultError('vault_error', { ...facts, reason: `an answer without ${key}` })
}
