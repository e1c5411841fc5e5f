import { FaultError } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import type { Identity } from '../core/ports/vault.ts'
import { backoffMs } from '../core/schedule.ts'
import { createAsk } from './ask.ts'
import type { Connections } from './connections.ts'
import { factsOf } from './facts.ts'
import { answerFacts, serverFault } from './faults.ts'
import { parseToken, type VaultToken } from './login.ts'
import { revokeOwnToken } from './own-token.ts'
import { isFresh, remainingMs } from './session.ts'
import type { Answer } from './transport.ts'
import { createUnrevocable } from './unrevocable.ts'

/** What can be done with a Vault token besides using it. Neither ever rejects. */
export type TokenLease = {
  /** The token with a new lease; undefined when Vault gave none that is worth it. */
  renew(identity: Identity, current: VaultToken, signal: AbortSignal): Promise<VaultToken | undefined>
  /**
   * Waits some seconds at most; where Vault could not be asked by then it is tried again until the token's end, beside
   * the caller.
   */
  revoke(identity: Identity, current: VaultToken, signal: AbortSignal): Promise<void>
  /** Tries no more. */
  stop(): void
}

/** Milliseconds that an unmount waits for a revocation at most. */
const REVOKE_TIMEOUT_MS = 3_000
/** Between two tries, in milliseconds, the first of many. */
const FIRST_RETRY_MS = 5_000
/** Tokens for which it is tried again, and how often: of a Vault that is away for hours the rest ends by itself. */
const MOST_RETRIED = 1_000
const MOST_TRIES = 20

export function createTokenLease(deps: { connections: Connections; clock: Clock; log: Log }): TokenLease {
  const { connections, clock, log } = deps
  const unrevocable = createUnrevocable(log)
  const stopping = new AbortController()
  let retried = 0

  /** @returns why it failed, when it may be tried again */
  const revokeOnce = async (
    identity: Identity,
    current: VaultToken,
    signal: AbortSignal,
  ): Promise<{ fault: string } | undefined> => {
    const limit = new AbortController()
    const cancel = clock.after(REVOKE_TIMEOUT_MS, () => limit.abort())
    try {
      const ask = createAsk(deps, identity, current.token)
      const outcome = await revokeOwnToken(ask, AbortSignal.any([signal, limit.signal]))
      if (outcome === 'not-permitted') unrevocable.tell(identity, current.accessor, 'auth/token/revoke-self')
      return undefined
    } catch (error) {
      return { fault: faultOf(error) }
    } finally {
      cancel()
    }
  }

  const goOn = async (identity: Identity, current: VaultToken): Promise<void> => {
    for (let failures = 1; failures < MOST_TRIES; failures += 1) {
      const pause = { retry: 'soon', failures, intervalMs: FIRST_RETRY_MS, retryAfterMs: undefined } as const
      await clock.sleep(backoffMs({ ...pause, random: Math.random() }), stopping.signal)
      if (remainingMs(current, clock.monotonic()) <= 0) return
      if ((await revokeOnce(identity, current, stopping.signal)) === undefined) return
    }
  }

  const goOnBeside = (identity: Identity, current: VaultToken) => {
    if (retried >= MOST_RETRIED || stopping.signal.aborted) return
    retried += 1
    goOn(identity, current)
      .catch(() => undefined)
      .finally(() => {
        retried -= 1
      })
  }

  return {
    renew: async (identity, current, signal) => {
      const facts = factsOf(identity)
      const startedAt = clock.monotonic()
      const judge = (answer: Answer) => {
        if (answer.status < 300) return parseToken(answer.body, startedAt, facts)
        throw serverFault(answer, clock.now(), facts) ?? refusal(identity, answer)
      }
      const { endpoint, podNamespace: asker } = identity
      const what = { operation: 'renew', method: 'POST', path: 'auth/token/renew-self', body: {} } as const
      try {
        const renewed = await connections.call(
          { ...what, asker, endpoint, token: current.token, facts, judge },
          signal,
        )
        // Near its maximum life Vault renews for less and less: then it is time for another token.
        const isWorthIt =
          isFresh(renewed, clock.monotonic()) && renewed.leaseDurationMs > current.leaseDurationMs / 2
        if (!isWorthIt) return undefined
        // The same object for the same text: calls under way are counted by it.
        const token = renewed.token.equals(current.token) ? current.token : renewed.token
        return { ...renewed, token, issuedAt: current.issuedAt }
      } catch (error) {
        log.debug({ identity: identity.key, fault: faultOf(error) }, 'vault token not renewed')
        return undefined
      }
    },
    revoke: async (identity, current, signal) => {
      // Vault knows nothing of it that it could forget.
      if (current.isBatch || remainingMs(current, clock.monotonic()) <= 0) return
      const failure = await revokeOnce(identity, current, signal)
      if (failure === undefined) return
      const { accessor } = current
      log.warn({ identity: identity.key, accessor, ...failure }, 'vault token not revoked')
      goOnBeside(identity, current)
    },
    stop: () => stopping.abort(),
  }
}

function refusal(identity: Identity, answer: Answer): FaultError {
  return new FaultError('vault_error', { ...factsOf(identity), ...answerFacts(answer) })
}

function faultOf(error: unknown): string {
  return error instanceof FaultError ? error.fault : 'aborted'
}
