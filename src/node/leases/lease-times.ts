import type { Clock } from '../../core/ports/clock.ts'
import type { Lease, LeaseToken } from '../../core/ports/leases.ts'
import type { Identity } from '../../core/ports/vault.ts'
import { type Lifetime, lifetimesOf, untilRenewalMs } from '../../core/schedule.ts'

/** The shortest pause between two attempts to renew a lease, in milliseconds. */
export const SHORTEST_PAUSE_MS = 1_000
/** How often a failing renewal is retried, at least, before the lease ends. */
const TRIES_BEFORE_END = 4

/** Both clocks: leases end by the monotonic one, certificates and everything with a time of day by the wall clock. */
export type Clocks = Pick<Clock, 'now' | 'monotonic'>

/** All of them, whichever part of the lease they belong to. */
function livesOf(lease: Lease, clock: Clocks): Lifetime[] {
  return Object.values(lifetimesOf(lease, clock)).flat()
}

/** Milliseconds until the first part of it ends, unless it is renewed; Infinity for never. */
export function untilEndMs(lease: Lease, clock: Clocks): number {
  return Math.min(Number.POSITIVE_INFINITY, ...livesOf(lease, clock).map(({ to, now }) => to - now))
}

/** Milliseconds until it is to be renewed or replaced, 0 or less when it is due; Infinity for never. */
export function untilDueMs(lease: Lease, clock: Clocks): number {
  const { renewAt } = lease.request
  const dues = livesOf(lease, clock).map((life) => untilRenewalMs(life, renewAt))
  return Math.min(Number.POSITIVE_INFINITY, ...dues)
}

/**
 * Milliseconds until the next try after a failure: when the lease is due, and when it is already, some more times before
 * it ends. Infinity for a lease that never ends or has ended.
 */
export function untilRetryMs(lease: Lease, clock: Clocks): number {
  const dueMs = untilDueMs(lease, clock)
  if (dueMs > 0) return dueMs
  const leftMs = untilEndMs(lease, clock)
  return leftMs > 0 ? Math.max(SHORTEST_PAUSE_MS, leftMs / TRIES_BEFORE_END) : Number.POSITIVE_INFINITY
}

/** For another process, whose monotonic clock is not ours: each leasedAt in wall time. */
export function toWallTime(lease: Lease, clock: Clocks): Lease {
  const { expiresAtMonotonic: _, ...lasting } = lease
  return onOtherClock(lasting, (leasedAt) => clock.now() - (clock.monotonic() - leasedAt))
}

/**
 * The way back. A lease that comes from the future was given before a clock was set back: its age is unknown, so it
 * is due now.
 */
export function toMonotonicTime(lease: Lease, clock: Clocks): Lease {
  return onOtherClock(lease, (leasedAt, durationMs) => {
    const ageMs = clock.now() - leasedAt
    if (ageMs >= 0) return clock.monotonic() - ageMs
    const isEndless = durationMs === Number.POSITIVE_INFINITY
    return clock.monotonic() - (isEndless ? 0 : (durationMs * lease.request.renewAt) / 100)
  })
}

function onOtherClock(lease: Lease, at: (leasedAt: number, durationMs: number) => number): Lease {
  const { token, vaultLease } = lease
  return {
    ...lease,
    token: token && { ...token, leasedAt: at(token.leasedAt, token.durationMs) },
    vaultLease: vaultLease && { ...vaultLease, leasedAt: at(vaultLease.leasedAt, vaultLease.durationMs) },
  }
}

/** A token with nothing under it yet: saved before it is used, so that a killed process leaves no orphan. */
export function bareLease(
  of: Pick<Lease, 'id' | 'request' | 'identity' | 'issuedAt'> & { token: LeaseToken },
): Lease {
  return {
    ...of,
    vaultLease: undefined,
    expiresAt: undefined,
    data: { values: new Map(), version: undefined },
    state: 'revoking',
  }
}

/** See bareLease. */
export function isBare({ data, vaultLease }: Lease): boolean {
  return data.values.size === 0 && vaultLease === undefined
}

/** An edited CA is the better one for older leases, too. */
export function leaseReachedAs(old: Identity, now: Identity): Identity {
  const isSame =
    old.endpoint.address === now.endpoint.address && old.endpoint.namespace === now.endpoint.namespace
  return isSame ? { ...old, endpoint: now.endpoint } : old
}

/** Without a token nothing hangs on it: a certificate ends by its notAfter. */
export function isRevocable(lease: Lease): lease is Lease & { token: LeaseToken } {
  return lease.token !== undefined
}
