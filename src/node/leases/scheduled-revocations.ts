import type { Clock } from '../../core/ports/clock.ts'
import type { Lease } from '../../core/ports/leases.ts'
import type { Volume } from '../volume.ts'
import { isRevocable, untilEndMs } from './lease-times.ts'
import type { LeasePersistence } from './persistence.ts'
import type { Revocations } from './revocations.ts'

/**
 * How long a replaced lease stays valid after the new one is in the files, in milliseconds: an application that has just
 * read the old one, or polls its files every few seconds, is not refused. The lease may end sooner. A failed revocation
 * is repeated after the same time.
 */
const NOTICE_MS = 30_000
/** A lease that cannot be revoked once it has ended is revoked so long before, in milliseconds. */
const BEFORE_END_MS = 5_000

/** The end of a volume's leases. */
export type ScheduledRevocations = {
  /** The files are written: replaced leases are revoked when applications have had time to notice. */
  schedule(volume: Volume): void
  /** Revokes replaced leases whose time has come. Never throws. */
  revokeDue(volume: Volume): Promise<void>
  /** The volume goes, and its leases. Ends within some seconds, never throws. */
  revokeAll(leases: readonly Lease[]): Promise<void>
  /** Leases that no file holds are revoked at once. Ends within some seconds, never throws. */
  revokeUnused(volume: Volume, leases: readonly Lease[]): Promise<void>
}

export function createScheduledRevocations(deps: {
  revocations: Revocations
  persistence: Pick<LeasePersistence, 'save'>
  clock: Clock
}): ScheduledRevocations {
  const { revocations, persistence, clock } = deps

  function retryLater({ leases }: Volume, left: readonly Lease[]): void {
    for (const one of left) leases.scheduleRevocation(one, clock.monotonic() + NOTICE_MS)
  }

  return {
    schedule({ leases }) {
      for (const one of leases.all) {
        if (one.state !== 'revoking' || leases.isScheduled(one)) continue
        const leftMs = Math.min(NOTICE_MS, untilEndMs(one, clock) - BEFORE_END_MS)
        leases.scheduleRevocation(one, clock.monotonic() + leftMs)
      }
    },

    async revokeDue(volume) {
      const { leases } = volume
      const due = leases.dueForRevocation(clock.monotonic())
      if (due.length === 0) return
      const left = (await revocations.revoke(due)).filter((one) => untilEndMs(one, clock) > 0)
      leases.set(leases.all.filter((one) => !due.includes(one) || left.includes(one)))
      retryLater(volume, left)
      persistence.save(volume)
    },

    revokeAll: (leases) =>
      revocations.revokeSurely(
        leases.filter((one) => isRevocable(one) && (one.request.revokeOnUnmount || one.state === 'revoking')),
      ),

    /** A revocation that fails is repeated: from the volume's leases, where a kill does not lose it. */
    async revokeUnused(volume, unused) {
      const left = await revocations.revoke(unused.filter(isRevocable))
      const ids = new Set(unused.map(({ id }) => id))
      const others = volume.leases.all.filter(({ id }) => !ids.has(id))
      if (volume.isPublishing || volume.isGone) {
        volume.leases.set(others)
        revocations.retry(left)
        return
      }
      volume.leases.set([...others, ...left.map((one) => ({ ...one, state: 'revoking' as const }))])
      retryLater(volume, left)
      persistence.save(volume)
    },
  }
}
