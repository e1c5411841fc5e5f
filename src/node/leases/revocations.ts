import { toFault } from '../../core/faults/fault.ts'
import type { Clock } from '../../core/ports/clock.ts'
import type { Issuer, Lease } from '../../core/ports/leases.ts'
import type { Log } from '../../core/ports/log.ts'
import { backoffMs } from '../../core/schedule.ts'
import { eachOf } from '../each-of.ts'
import { waitAtMost } from '../wait-at-most.ts'
import { untilEndMs } from './lease-times.ts'

/** An unmount waits for Vault at most so long, in milliseconds; the rest is retried in the background. */
const PATIENCE_MS = 3_000
/** Between the first two of many retries, in milliseconds. */
const FIRST_RETRY_MS = 5_000

/** Of one volume. */
const CALLS_AT_ONCE = 8

/** Revokes leases. While Vault is away it retries until they have ended. */
export type Revocations = {
  /**
   * Resolves when all are revoked, or after some seconds whatever Vault does; never rejects.
   * @returns those that Vault has not revoked yet
   */
  revoke(leases: readonly Lease[]): Promise<Lease[]>
  /** The same, and retries the rest in the background. */
  revokeSurely(leases: readonly Lease[]): Promise<void>
  /** In the background. */
  retry(leases: readonly Lease[]): void
  stop(): void
}

export function createRevocations(deps: {
  issuer: Pick<Issuer, 'revoke'>
  clock: Clock
  random: () => number
  log: Log
}): Revocations {
  const { issuer, clock, random, log } = deps
  const stopping = new AbortController()

  async function isRevoked(lease: Lease, signal: AbortSignal): Promise<boolean> {
    try {
      await issuer.revoke(lease, signal)
      return true
    } catch (error) {
      const { request, identity, token } = lease
      log.warn(
        { identity: identity.key, request: request.key, accessor: token?.accessor, error: toFault(error) },
        'lease not revoked yet',
      )
      return false
    }
  }

  async function revoke(leases: readonly Lease[]): Promise<Lease[]> {
    const left = new Set(leases)
    await waitAtMost(clock, PATIENCE_MS, (signal) =>
      eachOf(leases, CALLS_AT_ONCE, async (lease) => {
        if (!signal.aborted && (await isRevoked(lease, signal))) left.delete(lease)
      }),
    )
    return [...left]
  }

  async function retryUntilEnded(leases: readonly Lease[]): Promise<void> {
    let waiting = leases
    for (let failures = 1; waiting.length > 0; failures += 1) {
      const pause = { retry: 'soon', failures, intervalMs: FIRST_RETRY_MS, retryAfterMs: undefined } as const
      await clock.sleep(backoffMs({ ...pause, random: random() }), stopping.signal)
      waiting = await revoke(waiting.filter((lease) => untilEndMs(lease, clock) > 0))
    }
  }

  function retry(leases: readonly Lease[]): void {
    if (leases.length > 0) retryUntilEnded(leases).catch(() => undefined)
  }

  return {
    revoke,
    revokeSurely: async (leases) => retry(await revoke(leases)),
    retry,
    stop: () => stopping.abort(),
  }
}
