import { type FaultError, toFault } from '../core/errors.ts'
import type { Holding, Issuer } from '../core/issued.ts'
import type { Clock, Log } from '../core/ports.ts'
import { backoffMs } from '../core/schedule.ts'
import { untilEndMs } from './holding.ts'
import { waitAtMost } from './patience.ts'
import { eachOf } from './pool.ts'

/** An unmount waits for Vault at most so long, in milliseconds; what is left is tried again beside it. */
const PATIENCE_MS = 3_000
/** Between two tries, in milliseconds, the first of many. */
const FIRST_RETRY_MS = 5_000

/** What Vault will not take back, for want of a policy: once in a while somebody repairs that. In milliseconds. */
const REFUSED_RETRY_MS = 10 * 60_000
/** Of one unmount, at a time. */
const CALLS_AT_ONCE = 8
/**
 * How long what was replaced stays good after the new is in the files, in milliseconds: an application that has read
 * the old a moment ago, or looks at its files every few seconds, is not refused. It may end by itself sooner. As long
 * is what could not be revoked left alone.
 */
export const NOTICE_MS = 30_000

/** Not taken back yet, with the milliseconds until it is worth another try. */
export type Left = { holding: Holding; retryMs: number }

/** Takes back what was issued. While Vault is away it is tried again until it has ended by itself. */
export type Revocations = {
  /** Resolves when all are gone, or after some seconds whatever Vault does; never rejects. */
  revoke(holdings: readonly Holding[]): Promise<Left[]>
  /** The same, and what is left is tried again in the background. */
  revokeSurely(holdings: readonly Holding[]): Promise<void>
  /** What is left is tried again in the background. */
  goOn(left: readonly Left[]): void
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

  async function revokeOne(holding: Holding, signal: AbortSignal): Promise<Left | undefined> {
    try {
      await issuer.revoke(holding, signal)
      return undefined
    } catch (error) {
      const fault = toFault(error)
      const { order, identity, token } = holding
      const fields = { identity: identity.key, order: order.key, accessor: token?.accessor, error: fault }
      if (isRefused(fault)) log.warn(fields, 'Vault refuses to revoke it, it ends by its TTL')
      else log.warn(fields, 'not revoked yet')
      return { holding, retryMs: isRefused(fault) ? REFUSED_RETRY_MS : NOTICE_MS }
    }
  }

  async function revoke(holdings: readonly Holding[]): Promise<Left[]> {
    // Until it is known to be gone, each is left.
    const left = new Map(
      holdings.map((holding): [Holding, Left] => [holding, { holding, retryMs: NOTICE_MS }]),
    )
    await waitAtMost(clock, PATIENCE_MS, (signal) =>
      eachOf(holdings, CALLS_AT_ONCE, async (holding) => {
        const kept = await revokeOne(holding, signal)
        if (kept === undefined) left.delete(holding)
        else left.set(holding, kept)
      }),
    )
    return [...left.values()]
  }

  async function tryAgain(left: readonly Left[]): Promise<void> {
    let waiting = left
    for (let failures = 1; waiting.length > 0; failures += 1) {
      const retryAfterMs = Math.min(...waiting.map(({ retryMs }) => retryMs)) - NOTICE_MS
      const pause = { retry: 'soon', failures, intervalMs: FIRST_RETRY_MS, retryAfterMs } as const
      await clock.sleep(backoffMs({ ...pause, random: random() }), stopping.signal)
      const alive = waiting.map(({ holding }) => holding).filter((one) => untilEndMs(one, clock) > 0)
      waiting = await revoke(alive)
    }
  }

  function goOn(left: readonly Left[]): void {
    if (left.length > 0) tryAgain(left).catch(() => undefined)
  }

  return {
    revoke,
    revokeSurely: async (holdings) => goOn(await revoke(holdings)),
    goOn,
    stop: () => stopping.abort(),
  }
}

/** Vault was asked and will not: somebody must change a policy first. */
function isRefused({ fault }: FaultError): boolean {
  return fault === 'read_denied' || fault === 'call_refused' || fault === 'credential_refused'
}
