import { toFault } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import type { LedgerEntry, LedgerStore, Mounter, VolumeFiles } from '../core/ports/volume.ts'
import { hasCompleteFiles } from './adopt-unrecorded.ts'
import type { Budget } from './budget.ts'
import type { ImportUsers } from './import-users.ts'
import type { LeasedPaths } from './leases/leased-paths.ts'
import type { LeasePersistence } from './leases/persistence.ts'
import type { ScheduledRevocations } from './leases/scheduled-revocations.ts'
import type { RefreshSchedule } from './refresh-schedule.ts'
import type { Cleanup } from './unpublish.ts'
import { Volume } from './volume.ts'
import type { Volumes } from './volumes.ts'

/**
 * At start: compares the ledger with the mounts. Mounted volumes with complete files are resumed and wait for kubelet's
 * next token; half-made ones are removed, so that the next publish delivers files and not an empty directory; volumes
 * that are gone (a reboot) are forgotten. One bad volume never holds up the others.
 */
export async function resumeVolumes(deps: {
  clock: Pick<Clock, 'monotonic'>
  log: Log
  mounter: Mounter
  files: Pick<VolumeFiles, 'repair'>
  ledger: LedgerStore
  volumes: Volumes
  scheduledRevocations: Pick<ScheduledRevocations, 'revokeAll'>
  persistence: Pick<LeasePersistence, 'restore'>
  leasedPaths: LeasedPaths
  budget: Pick<Budget, 'count'>
  importUsers: Pick<ImportUsers, 'add'>
  cleanup: Pick<Cleanup, 'wipe' | 'forget'>
  refreshSchedule: Pick<RefreshSchedule, 'renewLeases'>
}): Promise<void> {
  const { clock, log, mounter, ledger, volumes, scheduledRevocations, persistence } = deps
  const { leasedPaths, budget, importUsers, cleanup, refreshSchedule } = deps
  const counts = { resumed: 0, removed: 0, forgotten: 0, failed: 0 }
  const mounted = mounter.list()
  for (const entry of ledger.load()) {
    try {
      counts[await resumeOne(entry)] += 1
    } catch (error) {
      counts.failed += 1
      const { volumeId, targetPath } = entry
      log.error({ volumeId, targetPath, error: toFault(error) }, 'a volume could not be resumed')
    }
  }
  log.info(counts, 'volumes resumed')

  async function resumeOne(entry: LedgerEntry): Promise<'resumed' | 'removed' | 'forgotten'> {
    const { targetPath } = entry
    // The list has paths as the kernel resolved them: kubelet's directory may be reached through a link.
    const isMounted = mounted.has(targetPath) || mounter.isMounted(targetPath)
    // Also of one that cannot be resumed: it takes memory until it is unpublished.
    if (isMounted) budget.count(entry, entry.sizeBytes)
    const leases = isMounted ? persistence.restore(targetPath, entry.leaseStoreKey) : []
    if (isMounted && entry.phase === 'complete' && (await hasCompleteFiles(deps, entry))) {
      const volume = Volume.resumed(entry, clock.monotonic(), leases)
      for (const { request, identity } of leases) leasedPaths.add(identity, request.key)
      importUsers.add(entry)
      volumes.add(volume)
      refreshSchedule.renewLeases(volume)
      return 'resumed'
    }
    // Never in complete files: all of them are revoked. In the background: kubelet's volumes do not wait for Vault.
    void scheduledRevocations.revokeAll(leases.map((one) => ({ ...one, state: 'revoking' })))
    if (isMounted) cleanup.wipe(targetPath)
    mounter.unmount(targetPath)
    cleanup.forget(targetPath)
    return isMounted ? 'removed' : 'forgotten'
  }
}
