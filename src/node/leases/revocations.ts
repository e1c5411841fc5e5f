import { toFault } from '../../core/faults/fault.ts'
import type { Clock } from '../../core/ports/clock.ts'
import type { Issuer, Lease } from '../../core/ports/leases.ts'
import type { Log } from '../../core/ports/log.ts'
import { backoffMs } from '../../core/schedule.ts'
import { waitAtMost } from '../patience.ts'
import { eachOf } from '../pool.ts'
import { untilEndMs } from './lease-times.ts'

/** An unmount waits for Vault at most so long, in milliseconds; what is left is tried again beside it. */
const PATIENCE_MS = 3_000
/** Between two tries, in milliseconds, the first of many. */
const FIRST_RETRY_MS = 5_000

/** Of one volume. */
const CALLS_AT_ONCE = 8

/** Takes back what was issued. While Vault is away it is tried again until it has ended by itself. */
export type Revocations = {
  /**
   * Resolves when all are gone, or after some seconds whatever Vault does; never rejects.
   * @returns those that Vault has not taken back yet
   */
  revoke(holdings: readonly Lease[]): Promise<Lease[]>
  /** The same, and what is left is tried again in the background. */
  revokeSurely(holdings: readonly Lease[]): Promise<void>
  /** What is left is tried again in the background. */
  goOn(left: readonly Lease[]): void
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

  async function isRevoked(holding: Lease, signal: AbortSignal): Promise<boolean> {
    try {
      await issuer.revoke(holding, signal)
      return true
    } catch (error) {
      const { request, identity, token } = holding
      log.warn(
        { identity: identity.key, request: request.key, accessor: token?.accessor, error: toFault(error) },
        'not revoked yet',
      )
      return false
    }
  }

  async function revoke(holdings: readonly Lease[]): Promise<Lease[]> {
    // Until it is known to be gone, each is left.
    const left = new Set(holdings)
    await waitAtMost(clock, PATIENCE_MS, (signal) =>
      eachOf(holdings, CALLS_AT_ONCE, async (holding) => {
        if (!signal.aborted && (await isRevoked(holding, signal))) left.delete(holding)
      }),
    )
    return [...left]
  }

  async function tryAgain(left: readonly Lease[]): Promise<void> {
    let waiting = left
    for (let failures = 1; waiting.length > 0; failures += 1) {
      const pause = { retry: 'soon', failures, intervalMs: FIRST_RETRY_MS, retryAfterMs: undefined } as const
      await clock.sleep(backoffMs({ ...pause, random: random() }), stopping.signal)
      waiting = await revoke(waiting.filter((holding) => untilEndMs(holding, clock) > 0))
    }
  }

  function goOn(left: readonly Lease[]): void {
    if (left.length > 0) tryAgain(left).catch(() => undefined)
  }

  return {
    revoke,
    revokeSurely: async (holdings) => goOn(await revoke(holdings)),
    goOn,
    stop: () => stopping.abort(),
  }
}
