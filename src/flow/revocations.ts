import { toFault } from '../core/errors.ts'
import type { Holding, Issuer } from '../core/issued.ts'
import type { Clock, Log } from '../core/ports.ts'
import { backoffMs } from '../core/schedule.ts'
import { endOf } from './holding.ts'

/** An unmount waits for Vault at most so long, in milliseconds; what is left is tried again beside it. */
const PATIENCE_MS = 3_000
/** Between two tries, in milliseconds, the first of many. */
const FIRST_RETRY_MS = 5_000

/** Takes back what was issued. While Vault is away it is tried again until it has ended by itself. */
export type Revocations = {
  /**
   * Resolves when all are gone, or after some seconds; never rejects.
   * @returns those that Vault has not taken back yet
   */
  revoke(holdings: readonly Holding[]): Promise<Holding[]>
  /** The same, and what is left is tried again in the background. */
  revokeSurely(holdings: readonly Holding[]): Promise<void>
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

  async function revokeOne(holding: Holding): Promise<boolean> {
    const late = new AbortController()
    const cancel = clock.after(PATIENCE_MS, () => late.abort(new Error('no answer in time')))
    try {
      await issuer.revoke(holding, late.signal)
      return true
    } catch (error) {
      const { order, identity, token } = holding
      log.warn(
        { identity: identity.key, order: order.key, accessor: token?.accessor, error: toFault(error) },
        'not revoked yet',
      )
      return false
    } finally {
      cancel()
    }
  }

  async function revoke(holdings: readonly Holding[]): Promise<Holding[]> {
    const outcomes = await Promise.all(
      holdings.map(async (holding) => ({ holding, isGone: await revokeOne(holding) })),
    )
    return outcomes.filter(({ isGone }) => !isGone).map(({ holding }) => holding)
  }

  async function goOn(left: readonly Holding[]): Promise<void> {
    let waiting = left
    for (let failures = 1; waiting.length > 0; failures += 1) {
      const pause = { retry: 'soon', failures, intervalMs: FIRST_RETRY_MS, retryAfterMs: undefined } as const
      await clock.sleep(backoffMs({ ...pause, random: random() }), stopping.signal)
      waiting = await revoke(waiting.filter((holding) => endOf(holding) > clock.now()))
    }
  }

  return {
    revoke,
    async revokeSurely(holdings) {
      const left = await revoke(holdings)
      if (left.length > 0) goOn(left).catch(() => undefined)
    },
    stop: () => stopping.abort(),
  }
}
