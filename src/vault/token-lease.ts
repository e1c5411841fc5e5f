import { FaultError } from '../core/errors.ts'
import type { Clock, Identity, Log } from '../core/ports.ts'
import type { Connections } from './connections.ts'
import { factsOf } from './facts.ts'
import { answerFacts, serverFault } from './faults.ts'
import { parseToken, type VaultToken } from './login.ts'
import { isFresh } from './session.ts'
import type { Answer } from './transport.ts'

/** What can be done with a Vault token besides using it. Neither ever rejects. */
export type TokenLease = {
  /** The token with a new lease; undefined when Vault gave none that is worth it. */
  renew(identity: Identity, current: VaultToken, signal: AbortSignal): Promise<VaultToken | undefined>
  /** Best effort, for some seconds; a token that cannot be revoked ends by its lease. */
  revoke(identity: Identity, current: VaultToken, signal: AbortSignal): Promise<void>
}

/** Milliseconds that an unmount waits for a revocation at most. */
const REVOKE_TIMEOUT_MS = 3_000

export function createTokenLease(deps: { connections: Connections; clock: Clock; log: Log }): TokenLease {
  const { connections, clock, log } = deps

  return {
    renew: async (identity, current, signal) => {
      const facts = factsOf(identity)
      const startedAt = clock.now()
      const judge = (answer: Answer) => {
        if (answer.status < 300) return parseToken(answer.body, startedAt, facts)
        throw serverFault(answer, startedAt, facts) ?? refusal(identity, answer)
      }
      const { endpoint } = identity
      const what = { operation: 'renew', method: 'POST', path: 'auth/token/renew-self', body: {} } as const
      try {
        const renewed = await connections.call(
          { ...what, endpoint, token: current.token, facts, judge },
          signal,
        )
        // Near its maximum life Vault renews for less and less: then it is time for another token.
        const isWorthIt =
          isFresh(renewed, clock.now()) && renewed.leaseDurationMs > current.leaseDurationMs / 2
        return isWorthIt ? { ...renewed, issuedAt: current.issuedAt } : undefined
      } catch (error) {
        log.debug({ identity: identity.key, fault: faultOf(error) }, 'vault token not renewed')
        return undefined
      }
    },
    revoke: async (identity, current, signal) => {
      // Vault knows nothing of it that it could forget.
      if (current.isBatch) return
      const judge = (answer: Answer) => {
        if (answer.status >= 300) throw refusal(identity, answer)
      }
      const { endpoint } = identity
      const what = { operation: 'revoke', method: 'POST', path: 'auth/token/revoke-self', body: {} } as const
      const limit = new AbortController()
      const cancel = clock.after(REVOKE_TIMEOUT_MS, () => limit.abort())
      const either = AbortSignal.any([signal, limit.signal])
      try {
        await connections.call({ ...what, endpoint, token: current.token, facts: {}, judge }, either)
      } catch (error) {
        const { accessor } = current
        log.warn({ identity: identity.key, accessor, fault: faultOf(error) }, 'vault token not revoked')
      } finally {
        cancel()
      }
    },
  }
}

function refusal(identity: Identity, answer: Answer): FaultError {
  return new FaultError('vault_error', { ...factsOf(identity), ...answerFacts(answer) })
}

function faultOf(error: unknown): string {
  return error instanceof FaultError ? error.fault : 'aborted'
}
