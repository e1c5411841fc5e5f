import { toFault } from '../../core/faults/fault.ts'
import type { Clock } from '../../core/ports/clock.ts'
import type { Lease, LeaseStore } from '../../core/ports/leases.ts'
import type { Log } from '../../core/ports/log.ts'
import type { LedgerStore, Mounter } from '../../core/ports/volume.ts'
import type { MountedVolume, Volumes } from '../volumes.ts'
import { toMonotonicTime, toWallTime } from './lease-times.ts'

/** What is issued to volumes, written down for the process that comes after a kill. */
export type Safekeeping = {
  /** Writes down what the volume holds now, unless it is gone. Never throws: what cannot be kept is told in the log. */
  remember(volume: MountedVolume): void
  /** What an earlier process left. */
  restore(targetPath: string, leaseStoreKey: string | undefined): Lease[]
}

export function createSafekeeping(deps: {
  safe: LeaseStore
  ledger: Pick<LedgerStore, 'put'>
  mounter: Pick<Mounter, 'isMounted'>
  volumes: Pick<Volumes, 'get'>
  clock: Pick<Clock, 'now' | 'monotonic'>
  log: Log
}): Safekeeping {
  const { safe, ledger, mounter, volumes, clock, log } = deps

  /** Unpublished while Vault was asked: it must not come back, nor write over the volume that came after it. */
  function isGone(volume: MountedVolume): boolean {
    const { targetPath } = volume.entry
    const known = volumes.get(targetPath)
    return !mounter.isMounted(targetPath) || (known !== undefined && known !== volume)
  }

  /** @returns whether all of it would be found again. @throws FaultError when the ledger cannot be written */
  function write({ entry, holdings }: MountedVolume): boolean {
    if (entry.leaseStoreKey === undefined) {
      if (holdings.length === 0) return true
      const leaseStoreKey = safe.newKey()
      ledger.put({ ...entry, leaseStoreKey })
      entry.leaseStoreKey = leaseStoreKey
    }
    const lasting = holdings.map((one) => toWallTime(one, clock))
    if (safe.put(entry.targetPath, entry.leaseStoreKey, lasting)) return true
    // Too much for one attribute: of what cannot be taken back nothing is left behind when it is forgotten.
    const revocable = lasting.filter(({ token }) => token !== undefined)
    if (revocable.length < holdings.length) safe.put(entry.targetPath, entry.leaseStoreKey, revocable)
    return false
  }

  return {
    remember(volume) {
      try {
        if (isGone(volume) || write(volume) || volume.isForgetful) return
        tell(volume)
      } catch (error) {
        tell(volume, error)
      }
    },

    restore(targetPath, leaseStoreKey) {
      const kept = leaseStoreKey === undefined ? undefined : safe.get(targetPath, leaseStoreKey)
      return (kept ?? []).map((one) => toMonotonicTime(one, clock))
    },
  }

  function tell(volume: MountedVolume, error?: unknown): void {
    volume.isForgetful = true
    const { volumeId, pod, importName } = volume.entry
    const message = 'what is issued cannot be kept over a restart, it would be replaced'
    log.warn(
      { volumeId, pod, importName, ...(error === undefined ? {} : { error: toFault(error) }) },
      message,
    )
  }
}
