import { FaultError } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { LeaseToken } from '../core/ports/leases.ts'
import type { Log } from '../core/ports/log.ts'
import type { Identity } from '../core/ports/vault.ts'
import { backoffMs, remainingMs } from '../core/schedule.ts'
import type { Renewal } from './renewal.ts'

/** Revokes shared tokens in the background. */
export type TokenRevocations = {
  /**
   * Waits some seconds at most, then retries in the background until the token ends. Never rejects.
   */
  revoke(identity: Identity, token: LeaseToken, signal: AbortSignal): Promise<void>
  /** Ends the retries. */
  stop(): void
}

/** Milliseconds that an unmount waits for a revocation at most. */
const REVOKE_TIMEOUT_MS = 3_000
/** Between two attempts, in milliseconds, the first of many. */
const FIRST_RETRY_MS = 5_000
/** Tokens that are retried, and how often: when Vault is away for hours the others end by TTL. */
const MOST_RETRIED = 1_000
const MOST_ATTEMPTS = 20

export function createTokenRevocations(deps: {
  renewal: Pick<Renewal, 'revokeToken'>
  clock: Clock
  log: Log
}): TokenRevocations {
  const { renewal, clock, log } = deps
  const stopping = new AbortController()
  let retried = 0

  /** @returns why it failed, when it may be retried */
  const revokeOnce = async (
    identity: Identity,
    token: LeaseToken,
    signal: AbortSignal,
  ): Promise<{ fault: string } | undefined> => {
    const limit = new AbortController()
    const cancel = clock.after(REVOKE_TIMEOUT_MS, () => limit.abort())
    try {
      await renewal.revokeToken(identity, token, AbortSignal.any([signal, limit.signal]))
      return undefined
    } catch (error) {
      return { fault: error instanceof FaultError ? error.fault : 'aborted' }
    } finally {
      cancel()
    }
  }

  const retry = async (identity: Identity, token: LeaseToken): Promise<void> => {
    for (let failures = 1; failures < MOST_ATTEMPTS; failures += 1) {
      const pause = { retry: 'soon', failures, intervalMs: FIRST_RETRY_MS, retryAfterMs: undefined } as const
      await clock.sleep(backoffMs({ ...pause, random: Math.random() }), stopping.signal)
      if (remainingMs(token, clock.monotonic()) <= 0) return
      if ((await revokeOnce(identity, token, stopping.signal)) === undefined) return
    }
  }

  const retryInBackground = (identity: Identity, token: LeaseToken) => {
    if (retried >= MOST_RETRIED || stopping.signal.aborted) return
    retried += 1
    retry(identity, token)
      .catch(() => undefined)
      .finally(() => {
        retried -= 1
      })
  }

  return {
    revoke: async (identity, token, signal) => {
      if (token.isBatch || remainingMs(token, clock.monotonic()) <= 0) return
      const failure = await revokeOnce(identity, token, signal)
      if (failure === undefined) return
      const { accessor } = token
      log.warn({ identity: identity.key, accessor, ...failure }, 'vault token not revoked')
      retryInBackground(identity, token)
    },
    stop: () => stopping.abort(),
  }
}
