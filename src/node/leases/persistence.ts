import { toFault } from '../../core/faults/fault.ts'
import type { Clock } from '../../core/ports/clock.ts'
import type { Lease, LeaseStore } from '../../core/ports/leases.ts'
import type { Log } from '../../core/ports/log.ts'
import type { LedgerStore, Mounter } from '../../core/ports/volume.ts'
import type { Volume } from '../volume.ts'
import { toMonotonicTime, toWallTime } from './lease-times.ts'

/** Keeps the leases of volumes for the process that comes after a kill. */
export type LeasePersistence = {
  /** Saves the volume's leases, unless it is gone. Never throws: a failure is logged. */
  save(volume: Volume): void
  /** The leases that an earlier process saved. */
  restore(targetPath: string, leaseStoreKey: string | undefined): Lease[]
}

export function createLeasePersistence(deps: {
  leaseStore: LeaseStore
  ledger: Pick<LedgerStore, 'put'>
  mounter: Pick<Mounter, 'isMounted'>
  clock: Pick<Clock, 'now' | 'monotonic'>
  log: Log
}): LeasePersistence {
  const { leaseStore, ledger, mounter, clock, log } = deps

  /** @returns whether all of them would be found again. @throws FaultError when the ledger cannot be written */
  function write(volume: Volume): boolean {
    const { entry, leases } = volume
    let { leaseStoreKey } = entry
    if (leaseStoreKey === undefined) {
      if (leases.all.length === 0) return true
      leaseStoreKey = leaseStore.newKey()
      ledger.put({ ...entry, leaseStoreKey })
      volume.setLeaseStoreKey(leaseStoreKey)
    }
    const lasting = leases.all.map((one) => toWallTime(one, clock))
    if (leaseStore.put(entry.targetPath, leaseStoreKey, lasting)) return true
    // Too much for one attribute: a lease that cannot be revoked leaves nothing behind when it is forgotten.
    const revocable = lasting.filter(({ token }) => token !== undefined)
    if (revocable.length < lasting.length) leaseStore.put(entry.targetPath, leaseStoreKey, revocable)
    return false
  }

  function reportLoss(volume: Volume, error?: unknown): void {
    if (!volume.leases.noteLoss() && error === undefined) return
    const { volumeId, pod, importName } = volume.entry
    const fields = { volumeId, pod, importName, ...(error === undefined ? {} : { error: toFault(error) }) }
    log.warn(fields, 'leases cannot be kept over a restart, they would be replaced')
  }

  return {
    save(volume) {
      try {
        // Unpublished during a call to Vault: it must not write over the volume that came after it.
        if (volume.isGone || !mounter.isMounted(volume.entry.targetPath)) return
        if (!write(volume)) reportLoss(volume)
      } catch (error) {
        reportLoss(volume, error)
      }
    },

    restore(targetPath, leaseStoreKey) {
      const saved = leaseStoreKey === undefined ? undefined : leaseStore.get(targetPath, leaseStoreKey)
      return (saved ?? []).map((one) => toMonotonicTime(one, clock))
    },
  }
}
