import type { Facts } from '../core/faults/facts.ts'
import { FaultError } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Identity } from '../core/ports/vault.ts'
import type { SecretText } from '../core/secret.ts'
import type { Call, Connections } from './connections.ts'
import { answerFacts, callFault } from './faults.ts'
import type { Answer } from './transport.ts'

export type TokenRequest<T> = Pick<Call<T>, 'operation' | 'method' | 'path' | 'body' | 'headers'> & {
  /** Makes the result of a response below 300. */
  parse(answer: Answer, facts: Facts): T
  /** The meaning of an error response here, before it becomes a fault of the usual kind. */
  parseError?: (answer: Answer, facts: Facts) => FaultError | { result: T } | undefined
}

/** One request to Vault with one token. @throws FaultError read_denied, path_not_found, call_refused, sealed, … */
export type Send = <T>(request: TokenRequest<T>, signal: AbortSignal) => Promise<T>

export function createSend(
  deps: { connections: Connections; clock: Clock },
  identity: Identity,
  token: SecretText,
): Send {
  const { connections, clock } = deps
  return ({ parse, parseError, ...request }, signal) => {
    const facts = { ...identityFacts(identity), path: request.path }
    const parseAll = (answer: Answer) => {
      if (answer.status < 300) return parse(answer, facts)
      const meaning = parseError?.(answer, { ...facts, ...answerFacts(answer) })
      if (meaning instanceof FaultError) throw meaning
      if (meaning !== undefined) return meaning.result
      throw callFault(answer, request, clock.now(), facts)
    }
    const { endpoint, podNamespace: asker } = identity
    return connections.call({ ...request, asker, endpoint, token, facts, parse: parseAll }, signal)
  }
}

/** The facts of an error about the identity and where it logs in. */
export function identityFacts(identity: Identity): Facts {
  const { endpoint, audience } = identity
  return {
    address: endpoint.address,
    ...(endpoint.namespace === '' ? {} : { vaultNamespace: endpoint.namespace }),
    method: identity.method,
    authMount: identity.authMount,
    role: identity.role,
    podNamespace: identity.podNamespace,
    serviceAccount: identity.serviceAccount,
    ...(audience === '' ? {} : { audience }),
  }
}
