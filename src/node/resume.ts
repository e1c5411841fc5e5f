import { toFault } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import type { LedgerEntry, LedgerStore, Mounter, VolumeFiles } from '../core/ports/volume.ts'
import type { Budget } from './budget.ts'
import { hasFiles } from './has-files.ts'
import type { ImportUsers } from './import-users.ts'
import type { LeasedPaths } from './leases/leased-paths.ts'
import type { Leases } from './leases/leases.ts'
import type { Rotation } from './refresh.ts'
import type { Farewell } from './unpublish.ts'
import { NO_TOKENS_YET, openVolume, type Volumes } from './volumes.ts'

/**
 * At start: holds the ledger against what is mounted. Mounted volumes with complete files are taken up again and
 * wait for kubelet's next token; what was killed half way is removed, so that the next publish delivers files and
 * not an empty directory; what is gone (a reboot) is forgotten. One bad volume never keeps the others back.
 */
export async function resumeVolumes(deps: {
  clock: Clock
  log: Log
  mounter: Mounter
  files: VolumeFiles
  ledger: LedgerStore
  volumes: Volumes
  leases: Pick<Leases, 'restore' | 'release'>
  leasedPaths: LeasedPaths
  budget: Pick<Budget, 'count'>
  importUsers: Pick<ImportUsers, 'add'>
  farewell: Pick<Farewell, 'wipe' | 'forget'>
  rotation: Pick<Rotation, 'keepAlive'>
}): Promise<void> {
  const { clock, log, mounter, ledger, volumes, leases, leasedPaths, rotation } = deps
  const { budget, importUsers, farewell } = deps
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
  log.info(counts, 'ledger held against what is mounted')

  async function resumeOne(entry: LedgerEntry): Promise<'resumed' | 'removed' | 'forgotten'> {
    const { targetPath } = entry
    // The list has paths as the kernel resolved them: kubelet's directory may be reached through a link.
    const isMounted = mounted.has(targetPath) || mounter.isMounted(targetPath)
    // Also of one that cannot be resumed: it is there until somebody unpublishes it.
    if (isMounted) budget.count(entry, entry.sizeBytes)
    const holdings = isMounted ? leases.restore(targetPath, entry.leaseStoreKey) : []
    if (isMounted && entry.phase === 'complete' && (await hasFiles(deps, entry))) {
      const volume = openVolume(entry, { tokens: NO_TOKENS_YET, lastSyncedAt: clock.monotonic(), holdings })
      for (const { request, identity } of holdings) leasedPaths.add(identity, request.key)
      importUsers.add(entry)
      volumes.set(volume)
      rotation.keepAlive(volume)
      return 'resumed'
    }
    // Never in whole files, so nothing of it may stay. Beside the rest: kubelet's volumes do not wait for Vault.
    void leases.release({ holdings: holdings.map((one) => ({ ...one, state: 'retiring' })) })
    if (isMounted) farewell.wipe(targetPath)
    mounter.unmount(targetPath)
    farewell.forget(targetPath)
    return isMounted ? 'removed' : 'forgotten'
  }
}
