import type { Facts } from '../core/faults/facts.ts'
import { FaultError } from '../core/faults/fault.ts'
import type { Call } from '../core/imports/calls.ts'
import { isJsonObject } from '../core/json/json.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { IssueResponse, LeaseToken } from '../core/ports/leases.ts'
import type { Identity, SecretData } from '../core/ports/vault.ts'
import { answerData, certificateEnd } from './answer-data.ts'
import { createAsk } from './ask.ts'
import type { Connections } from './connections.ts'
import { refuseOwnToken } from './own-token-fault.ts'
import { readPath } from './store.ts'
import type { Answer } from './transport.ts'

/**
 * What Vault makes for this call.
 * @throws FaultError read_denied, path_not_found, call_refused, …
 */
export async function issueCall(
  deps: { connections: Connections; clock: Clock },
  identity: Identity,
  token: LeaseToken,
  call: Call,
  signal: AbortSignal,
): Promise<IssueResponse> {
  const askedAt = deps.clock.now()
  const { lease, ...data } = await answerTo(deps, identity, token, call, signal)
  // What was merely stored gets no better by asking again.
  const isMade = call.method !== 'GET' || lease !== undefined
  const expiresAt = isMade ? certificateEnd(data.values, askedAt) : undefined
  return { data, vaultLease: lease, expiresAt, needsToken: lease !== undefined }
}

function answerTo(
  deps: { connections: Connections; clock: Clock },
  identity: Identity,
  token: LeaseToken,
  { method, path, version, data }: Call,
  signal: AbortSignal,
): Promise<SecretData> {
  if (method === 'GET') {
    const place = version === undefined ? path : `${path}?version=${version}`
    return readPath(deps.connections, deps.clock, identity, place, token, signal)
  }
  const askedAt = deps.clock.monotonic()
  const judge = (answer: Answer, facts: Facts) => {
    const held = answerData(answer, askedAt)
    if (held !== undefined) {
      refuseOwnToken(held, token.token, facts)
      return held
    }
    throw new FaultError('call_refused', { ...facts, reason: emptyReason(answer) })
  }
  const ask = createAsk(deps, identity, token.token)
  return ask({ operation: 'issue', method, path, body: data ?? {}, judge }, signal)
}

/** Why an answer without data cannot become files. */
function emptyReason({ body }: Answer): string {
  const { auth, wrap_info: wrapped } = isJsonObject(body) ? body : {}
  if (isJsonObject(auth)) return 'it answered with a Vault token: tokens come by spec.credentials'
  if (isJsonObject(wrapped)) return 'it answered with a wrapped value'
  return 'it answered without data'
}
