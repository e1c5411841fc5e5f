import type { Retry } from './faults/facts.ts'
import type { Clock } from './ports/clock.ts'
import type { Lease } from './ports/leases.ts'

/** Share of the interval by which a refresh may come early or late, so that nodes do not refresh at the same moment. */
const JITTER = 0.1
const SOON_FIRST_MS = 5_000
const SOON_MOST_MS = 5 * 60_000
const SLOW_MOST_MS = 10 * 60_000

/**
 * Milliseconds until the next refresh after a successful one: the interval ±10 %.
 * @param random from 0 to under 1
 */
export function nextDelayMs({ intervalMs, random }: { intervalMs: number; random: number }): number {
  return jitter(intervalMs, random)
}

/**
 * Milliseconds until the first refresh of a volume: anywhere within one interval, so that a thousand volumes
 * found at start, or published by one rollout, are spread evenly.
 * @param random from 0 to under 1
 */
export function firstDelayMs({ intervalMs, random }: { intervalMs: number; random: number }): number {
  return Math.round(intervalMs * random)
}

/**
 * Milliseconds until the next refresh after a failure. Passing faults are retried soon, from 5 s (or the interval, when
 * shorter) doubling to 5 min; faults that a person must repair, from the interval doubling to 10 min (or the interval,
 * when longer).
 * @param failures how many in a row, this one included
 * @param retryAfterMs from Vault: never sooner than that
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
  // Spread above the floor: all that were limited together would come back together.
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
function renewalAt(life: { from: number; to: number }, percent: number): number {
  return life.to === Number.POSITIVE_INFINITY ? life.to : life.from + ((life.to - life.from) * percent) / 100
}

/** One of the times at which something ends, with the present by the same clock, in milliseconds. */
export type Lifetime = { from: number; to: number; now: number }

/** Milliseconds until renewal or replacement; none or less when it is due, Infinity for never. */
export function untilRenewalMs(life: Lifetime, percent: number): number {
  return renewalAt(life, percent) - life.now
}

/**
 * Milliseconds until Vault forgets a token or lease; negative when it has.
 * @param now monotonic
 */
export function remainingMs(given: { leasedAt: number; durationMs: number }, now: number): number {
  return given.leasedAt + given.durationMs - now
}

/**
 * The lifetimes of a lease by part. Token and Vault lease live by the monotonic clock, a certificate's end is a time of
 * day: that one is also held against the monotonic clock, for the wall clock may be set back.
 */
export function lifetimesOf(
  { token, vaultLease, expiresAt, expiresAtMonotonic, issuedAt }: Lease,
  clock: Pick<Clock, 'now' | 'monotonic'>,
): { token: Lifetime[]; vaultLease: Lifetime[]; expiry: Lifetime[] } {
  const now = clock.monotonic()
  const leased = (one: { leasedAt: number; durationMs: number } | undefined): Lifetime[] =>
    one === undefined ? [] : [{ from: one.leasedAt, to: one.leasedAt + one.durationMs, now }]
  const expiry: Lifetime[] = []
  if (expiresAt !== undefined) expiry.push({ from: issuedAt, to: expiresAt, now: clock.now() })
  if (expiresAt !== undefined && expiresAtMonotonic !== undefined) {
    expiry.push({ from: expiresAtMonotonic - (expiresAt - issuedAt), to: expiresAtMonotonic, now })
  }
  return { token: leased(token), vaultLease: leased(vaultLease), expiry }
}

function jitter(delayMs: number, random: number): number {
  return Math.round(delayMs * (1 - JITTER + 2 * JITTER * random))
}
