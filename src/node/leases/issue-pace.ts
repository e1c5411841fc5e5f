import type { Lease } from '../../core/ports/leases.ts'
import { type Clocks, untilDueMs } from './lease-times.ts'

/** A lease that is due again sooner is not worth issuing, in milliseconds: Vault, or a clock, is wrong about it. */
const BRIEF_MS = 1_000
const MOST_MS = 5 * 60_000

/** The last issue of one request. */
type Issue = {
  /** By Clock.monotonic(). */
  at: number
  /** How many in a row were due again at once. */
  brief: number
  /** Vault does not renew the lease any more. */
  isEnding: boolean
}

/** How often the leases of one volume may be issued again. Leases that live long enough are not slowed down. */
export class IssuePace {
  /** By the request's key. */
  readonly #issues = new Map<string, Issue>()

  /** Milliseconds until a lease that cannot be renewed may be replaced, 0 or less for at once. */
  untilReissueMs(requestKey: string, clock: Clocks): number {
    const last = this.#issues.get(requestKey)
    if (last === undefined || !last.isEnding || last.brief === 0) return 0
    return last.at + Math.min(BRIEF_MS * 2 ** last.brief, MOST_MS) - clock.monotonic()
  }

  noteIssue(lease: Lease, clock: Clocks): void {
    const { key } = lease.request
    const isBrief = untilDueMs(lease, clock) < BRIEF_MS
    const brief = isBrief ? (this.#issues.get(key)?.brief ?? 0) + 1 : 0
    this.#issues.set(key, { at: clock.monotonic(), brief, isEnding: false })
  }

  /** After each attempt to renew. */
  noteRenewal(requestKey: string, isEnding: boolean): void {
    const last = this.#issues.get(requestKey)
    if (last !== undefined) last.isEnding = isEnding
  }

  forgetExcept(requestKeys: ReadonlySet<string>): void {
    for (const key of this.#issues.keys()) if (!requestKeys.has(key)) this.#issues.delete(key)
  }
}
