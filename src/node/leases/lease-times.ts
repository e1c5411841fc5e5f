import type { Clock } from '../../core/ports/clock.ts'
import type { Lease, LeaseToken } from '../../core/ports/leases.ts'
import type { Identity } from '../../core/ports/vault.ts'
import { type Lifetime, lifetimesOf, untilRenewalMs } from '../../core/schedule.ts'

/** The shortest pause between two tries to renew what is issued, in milliseconds. */
export const SHORTEST_PAUSE_MS = 1_000
/** How often a renewal that fails is tried again, at least, before what is issued ends. */
const TRIES_BEFORE_END = 4

/** Both clocks: leases live by the one, certificates and what Vault ends at a time of day by the other. */
export type Clocks = Pick<Clock, 'now' | 'monotonic'>

/** All of them, whichever part of the lease they belong to. */
function livesOf(lease: Lease, clock: Clocks): Lifetime[] {
  return Object.values(lifetimesOf(lease, clock)).flat()
}

/** Milliseconds until nothing of it is good any more, unless it is renewed; Infinity for never. */
export function untilEndMs(holding: Lease, clock: Clocks): number {
  return Math.min(Number.POSITIVE_INFINITY, ...livesOf(holding, clock).map(({ to, now }) => to - now))
}

/** Milliseconds until it is to be renewed or replaced, none or less when it is due; Infinity for never. */
export function untilDueMs(holding: Lease, clock: Clocks): number {
  const { renewAt } = holding.request
  const dues = livesOf(holding, clock).map((life) => untilRenewalMs(life, renewAt))
  return Math.min(Number.POSITIVE_INFINITY, ...dues)
}

/**
 * Milliseconds until the next try after a failure: when it is due, and when it is already, some more times before it
 * ends. Infinity for what never ends or has ended.
 */
export function untilRetryMs(holding: Lease, clock: Clocks): number {
  const dueMs = untilDueMs(holding, clock)
  if (dueMs > 0) return dueMs
  const leftMs = untilEndMs(holding, clock)
  return leftMs > 0 ? Math.max(SHORTEST_PAUSE_MS, leftMs / TRIES_BEFORE_END) : Number.POSITIVE_INFINITY
}

/** For another process, whose monotonic clock is not ours: each leasedAt in wall time. */
export function toWallTime(holding: Lease, clock: Clocks): Lease {
  const { expiresAtMonotonic: _, ...lasting } = holding
  return onOtherClock(lasting, (leasedAt) => clock.now() - (clock.monotonic() - leasedAt))
}

/**
 * The way back. A lease that comes from the future was given before a clock was set back: nobody knows how old it is,
 * so that it is due now.
 */
export function toMonotonicTime(holding: Lease, clock: Clocks): Lease {
  return onOtherClock(holding, (leasedAt, durationMs) => {
    const ageMs = clock.now() - leasedAt
    if (ageMs >= 0) return clock.monotonic() - ageMs
    const isEndless = durationMs === Number.POSITIVE_INFINITY
    return clock.monotonic() - (isEndless ? 0 : (durationMs * holding.request.renewAt) / 100)
  })
}

function onOtherClock(holding: Lease, at: (leasedAt: number, durationMs: number) => number): Lease {
  const { token, vaultLease } = holding
  return {
    ...holding,
    token: token && { ...token, leasedAt: at(token.leasedAt, token.durationMs) },
    vaultLease: vaultLease && { ...vaultLease, leasedAt: at(vaultLease.leasedAt, vaultLease.durationMs) },
  }
}

/** A token with nothing under it yet: written down before it is used, so that a killed process leaves no orphan. */
export function bareHolding(
  of: Pick<Lease, 'id' | 'request' | 'identity' | 'issuedAt'> & { token: LeaseToken },
): Lease {
  return {
    ...of,
    vaultLease: undefined,
    expiresAt: undefined,
    data: { values: new Map(), version: undefined },
    state: 'retiring',
  }
}

/** See bareHolding. */
export function isBare({ data, vaultLease }: Lease): boolean {
  return data.values.size === 0 && vaultLease === undefined
}

/** An edited CA is the better one for what was issued before, too. */
export function reachedAs(old: Identity, now: Identity): Identity {
  const isSame =
    old.endpoint.address === now.endpoint.address && old.endpoint.namespace === now.endpoint.namespace
  return isSame ? { ...old, endpoint: now.endpoint } : old
}

/** Without a token nothing hangs on it: a certificate ends by its notAfter. */
export function isRevocable(holding: Lease): holding is Lease & { token: LeaseToken } {
  return holding.token !== undefined
}
