import type { Clock } from '../../core/ports/clock.ts'
import type { Lease } from '../../core/ports/leases.ts'
import type { MountedVolume, Volumes } from '../volumes.ts'
import { isRevocable, untilEndMs } from './lease-times.ts'
import type { Safekeeping } from './persistence.ts'
import type { Revocations } from './revocations.ts'

/**
 * How long what was replaced stays good after the new is in the files, in milliseconds: an application that has read
 * the old a moment ago, or looks at its files every few seconds, is not refused. It may end by itself sooner. For as
 * long is left alone what could not be revoked.
 */
const NOTICE_MS = 30_000
/** What can be taken back no more once it has ended is taken back so long before, in milliseconds. */
const BEFORE_END_MS = 5_000

/** The end of what is issued to a volume. */
export type Retiring = {
  /** The files are made from what is held: what was replaced goes when applications have had time to notice. */
  retire(volume: MountedVolume): void
  /** Takes back what was replaced and has had its time. Never throws. */
  settle(volume: MountedVolume): Promise<void>
  /** The volume goes, and all that was issued to it. Ends within some seconds, never throws. */
  release(volume: Pick<MountedVolume, 'holdings'>): Promise<void>
  /** Never in any file: taken back at once. Ends within some seconds, never throws. */
  discard(volume: MountedVolume, holdings: readonly Lease[]): Promise<void>
}

export function createRetiring(deps: {
  revocations: Revocations
  safekeeping: Pick<Safekeeping, 'remember'>
  volumes: Pick<Volumes, 'get'>
  clock: Clock
}): Retiring {
  const { revocations, safekeeping, volumes, clock } = deps
  const { remember } = safekeeping

  function tryLater(volume: MountedVolume, left: readonly Lease[]): void {
    for (const { id } of left) volume.retireAt.set(id, clock.monotonic() + NOTICE_MS)
  }

  return {
    retire(volume) {
      for (const one of volume.holdings) {
        if (one.state !== 'retiring' || volume.retireAt.has(one.id)) continue
        const leftMs = Math.min(NOTICE_MS, untilEndMs(one, clock) - BEFORE_END_MS)
        volume.retireAt.set(one.id, clock.monotonic() + leftMs)
      }
    },

    async settle(volume) {
      const over = volume.holdings.filter(({ id }) => {
        const at = volume.retireAt.get(id)
        return at !== undefined && at <= clock.monotonic()
      })
      if (over.length === 0) return
      const left = (await revocations.revoke(over)).filter((one) => untilEndMs(one, clock) > 0)
      setHoldings(
        volume,
        volume.holdings.filter((one) => !over.includes(one) || left.includes(one)),
      )
      tryLater(volume, left)
      remember(volume)
    },

    release: ({ holdings }) =>
      revocations.revokeSurely(
        holdings.filter(
          (one) => isRevocable(one) && (one.request.revokeOnUnmount || one.state === 'retiring'),
        ),
      ),

    /** What Vault does not take back now is tried again: from the volume's holdings, where a kill does not lose it. */
    async discard(volume, holdings) {
      const left = await revocations.revoke(holdings.filter(isRevocable))
      const ids = new Set(holdings.map(({ id }) => id))
      const others = volume.holdings.filter(({ id }) => !ids.has(id))
      if (volumes.get(volume.entry.targetPath) !== volume) {
        setHoldings(volume, others)
        revocations.goOn(left)
        return
      }
      setHoldings(volume, [...others, ...left.map((one) => ({ ...one, state: 'retiring' as const }))])
      tryLater(volume, left)
      remember(volume)
    },
  }
}

/** Of what is held no more no date may stay: it would be due for ever. */
export function setHoldings(volume: MountedVolume, holdings: readonly Lease[]): void {
  volume.holdings = holdings
  const ids = new Set(holdings.map(({ id }) => id))
  for (const id of volume.retireAt.keys()) if (!ids.has(id)) volume.retireAt.delete(id)
}
