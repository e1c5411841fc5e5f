import type { Retry } from './faults/facts.ts'

/** Share of the interval by which a look may come early or late, so that nodes do not march in step. */
const JITTER = 0.1
const SOON_FIRST_MS = 5_000
const SOON_MOST_MS = 5 * 60_000
const SLOW_MOST_MS = 10 * 60_000

/**
 * Milliseconds until the next look after a good one: the interval ±10 %.
 * @param random from 0 to under 1
 */
export function nextDelayMs({ intervalMs, random }: { intervalMs: number; random: number }): number {
  return jitter(intervalMs, random)
}

/**
 * Milliseconds until the first look of a volume: anywhere within one interval, so that a thousand volumes
 * found at start, or published by one rollout, are spread evenly.
 * @param random from 0 to under 1
 */
export function firstDelayMs({ intervalMs, random }: { intervalMs: number; random: number }): number {
  return Math.round(intervalMs * random)
}

/**
 * Milliseconds until the next look after a failure. What may pass by itself is tried again soon, from 5 s (or the
 * interval, when shorter) doubling to 5 min; what somebody must repair, from the interval doubling to 10 min (or the
 * interval, when longer).
 * @param failures how many in a row, this one included
 * @param retryAfterMs Vault's own wish: never sooner than that
 * @param random from 0 to under 1
 */
export function backoffMs(options: {
  retry: Retry
  failures: number
  intervalMs: number
  retryAfterMs: number | undefined
  random: number
}): number {
  const { retry, failures, intervalMs, retryAfterMs = 0, random } = options
  const { first, most } = bounds[retry](intervalMs)
  const delayMs = jitter(Math.min(first * 2 ** Math.max(0, failures - 1), most), random)
  // Spread above the floor: all that were refused together would come back together.
  const floorMs = Math.round(retryAfterMs * (1 + JITTER * random))
  return Math.max(delayMs, floorMs)
}

const bounds = {
  soon: (intervalMs) => ({ first: Math.min(intervalMs, SOON_FIRST_MS), most: SOON_MOST_MS }),
  slow: (intervalMs) => ({ first: intervalMs, most: Math.max(intervalMs, SLOW_MOST_MS) }),
} satisfies Record<Retry, (intervalMs: number) => { first: number; most: number }>

/**
 * When something of limited life is to be renewed or replaced, by the clock of its life; Infinity for never.
 * @param percent of its life that may pass
 */
export function renewalAt(life: { from: number; to: number }, percent: number): number {
  return life.to === Number.POSITIVE_INFINITY ? life.to : life.from + ((life.to - life.from) * percent) / 100
}

function jitter(delayMs: number, random: number): number {
  return Math.round(delayMs * (1 - JITTER + 2 * JITTER * random))
}
