import type { Holding } from '../core/issued.ts'
import type { Clocks } from './holding.ts'
import { untilDueMs } from './holding.ts'
import type { MountedVolume } from './volumes.ts'

/** The shortest time between two issues of one order, in milliseconds, whatever life Vault gives them. */
const LEAST_MS = 10_000
const MOST_MS = 5 * 60_000

/** How one order of a volume was issued of late. */
export type Issued = {
  /** By Clock.monotonic(). */
  on: number
  /** Until it was to be replaced, as it seemed then. */
  lifeMs: number
  /** How many in a row came sooner than the one before would have been due. */
  early: number
  /** Vault prolongs it no more: the next is to be issued. */
  isEnding: boolean
}

/** What can be prolonged no more is to be replaced: milliseconds until it may, none or less for at once. */
export function untilReissueMs({ issued }: MountedVolume, orderKey: string, clock: Clocks): number {
  const last = issued.get(orderKey)
  if (last === undefined || !last.isEnding) return 0
  const pauseMs = Math.min(LEAST_MS * 2 ** last.early, MOST_MS)
  return last.on + pauseMs - clock.monotonic()
}

/** To be told of each issue. Its own life is what warrants the next: what ends at once, by a clock that is wrong or on purpose, is not asked for without pause. */
export function noteIssue({ issued }: MountedVolume, holding: Holding, clock: Clocks): void {
  const { key } = holding.order
  const on = clock.monotonic()
  const lifeMs = untilDueMs(holding, clock)
  const last = issued.get(key)
  const isEarly = last !== undefined && on - last.on < Math.max(LEAST_MS, last.lifeMs) * 0.5
  const isBrief = last !== undefined && lifeMs < LEAST_MS && last.lifeMs < LEAST_MS
  issued.set(key, { on, lifeMs, early: isEarly || isBrief ? last.early + 1 : 0, isEnding: false })
}

/** To be told of each try to prolong it. */
export function noteEnding({ issued }: MountedVolume, orderKey: string, isEnding: boolean): void {
  const last = issued.get(orderKey)
  if (last !== undefined) last.isEnding = isEnding
}
