import type { Holding, OwnToken } from '../core/issued.ts'
import type { Identity } from '../core/ports.ts'
import { renewalAt } from '../core/schedule.ts'

/** The shortest pause between two tries to renew what is issued, in milliseconds. */
export const SHORTEST_PAUSE_MS = 1_000
/** How often a renewal that fails is tried again, at least, before what is issued ends. */
const TRIES_BEFORE_END = 4

/** When a token or lease ends unless it is renewed: milliseconds since the Unix epoch. */
export function lifeOf(lease: { leasedAt: number; durationMs: number }): { from: number; to: number } {
  return { from: lease.leasedAt, to: lease.leasedAt + lease.durationMs }
}

/** When nothing of it is good any more, unless it is renewed: milliseconds since the Unix epoch. */
export function endOf({ token, lease, endsAt }: Holding): number {
  return Math.min(
    token ? lifeOf(token).to : Number.POSITIVE_INFINITY,
    lease ? lifeOf(lease).to : Number.POSITIVE_INFINITY,
    endsAt ?? Number.POSITIVE_INFINITY,
  )
}

/** When it is to be renewed or replaced: milliseconds since the Unix epoch. */
export function dueAt({ order, token, lease, endsAt, issuedAt }: Holding): number {
  const lives = [
    ...(token ? [lifeOf(token)] : []),
    ...(lease ? [lifeOf(lease)] : []),
    ...(endsAt === undefined ? [] : [{ from: issuedAt, to: endsAt }]),
  ]
  return Math.min(Number.POSITIVE_INFINITY, ...lives.map((life) => renewalAt(life, order.renewAt)))
}

/** Whether it is to be renewed or replaced. What seems to come from the future does, after a clock was set back, too. */
export function isDue(holding: Holding, now: number): boolean {
  const { token, lease } = holding
  const isAhead = [token?.leasedAt, lease?.leasedAt].some((at) => at !== undefined && at > now)
  return isAhead || dueAt(holding) <= now
}

/**
 * When to look again after a failure: when it is due, and when it is already, some more times before it ends.
 * Milliseconds since the Unix epoch; Infinity for what never ends or has ended.
 */
export function retryAt(holding: Holding, now: number): number {
  const due = dueAt(holding)
  if (due > now) return due
  const leftMs = endOf(holding) - now
  return leftMs > 0 ? now + Math.max(SHORTEST_PAUSE_MS, leftMs / TRIES_BEFORE_END) : Number.POSITIVE_INFINITY
}

/** A token with nothing under it yet: written down before it is used, so that a killed process leaves no orphan. */
export function bareHolding(
  of: Pick<Holding, 'id' | 'order' | 'identity' | 'issuedAt'> & { token: OwnToken },
): Holding {
  return {
    ...of,
    lease: undefined,
    endsAt: undefined,
    data: { values: new Map(), version: undefined },
    state: 'retiring',
  }
}

/** See bareHolding. */
export function isBare({ data, lease }: Holding): boolean {
  return data.values.size === 0 && lease === undefined
}

/** An edited CA is the better one for what was issued before, too. */
export function reachedAs(old: Identity, now: Identity): Identity {
  const isSame =
    old.endpoint.address === now.endpoint.address && old.endpoint.namespace === now.endpoint.namespace
  return isSame ? { ...old, endpoint: now.endpoint } : old
}

/** Without a token nothing hangs on it: a certificate ends by its notAfter. */
export function isRevocable(holding: Holding): holding is Holding & { token: OwnToken } {
  return holding.token !== undefined
}
