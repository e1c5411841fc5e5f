import type { Lease } from '../../core/ports/leases.ts'
import { type Clocks, untilDueMs } from './lease-times.ts'

/** What is due again sooner is not worth the asking, in milliseconds: Vault, or a clock, is wrong about it. */
const BRIEF_MS = 1_000
const MOST_MS = 5 * 60_000

/** How one order of a volume was issued of late. */
export type Issued = {
  /** By Clock.monotonic(). */
  on: number
  /** How many in a row were due again at once. */
  brief: number
  /** Vault prolongs it no more: the next is to be issued. */
  isEnding: boolean
}

/** What can be prolonged no more is to be replaced: milliseconds until it may, none or less for at once. */
export function untilReissueMs(
  { issued }: { issued: Map<string, Issued> },
  orderKey: string,
  clock: Clocks,
): number {
  const last = issued.get(orderKey)
  if (last === undefined || !last.isEnding || last.brief === 0) return 0
  return last.on + Math.min(BRIEF_MS * 2 ** last.brief, MOST_MS) - clock.monotonic()
}

/** To be told of each issue: its own life is what warrants the next. */
export function noteIssue({ issued }: { issued: Map<string, Issued> }, holding: Lease, clock: Clocks): void {
  const { key } = holding.request
  const isBrief = untilDueMs(holding, clock) < BRIEF_MS
  const brief = isBrief ? (issued.get(key)?.brief ?? 0) + 1 : 0
  issued.set(key, { on: clock.monotonic(), brief, isEnding: false })
}

/** To be told of each try to prolong it. */
export function noteEnding(
  { issued }: { issued: Map<string, Issued> },
  orderKey: string,
  isEnding: boolean,
): void {
  const last = issued.get(orderKey)
  if (last !== undefined) last.isEnding = isEnding
}
