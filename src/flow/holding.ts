import type { Holding, OwnToken } from '../core/ports.ts'
import { renewalAt } from '../core/schedule.ts'

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
