import { toFault } from '../core/faults/fault.ts'
import type { Log } from '../core/ports/log.ts'
import type { LedgerStore, Mounter, VolumeFiles } from '../core/ports/volume.ts'
import type { Budget } from './budget.ts'
import type { IdentityUsers } from './identity-users.ts'
import type { ImportUsers } from './import-users.ts'
import type { LeasedPaths } from './leases/leased-paths.ts'
import type { ScheduledRevocations } from './leases/scheduled-revocations.ts'
import type { RefreshSchedule } from './refresh-schedule.ts'
import type { Volume } from './volume.ts'
import type { Volumes } from './volumes.ts'

export type Unpublish = (request: { volumeId: string; targetPath: string }) => Promise<void>

/** Removes the rest of a volume besides its mount; each part whatever becomes of the others. Never throws. */
export type Cleanup = {
  /** Deletes the files of the mount. */
  wipe(targetPath: string): void
  /** Nothing is mounted there any more. */
  forget(targetPath: string): void
  /** Of a volume deleted from Volumes: releases its import and its identity. Ends within some seconds. */
  release(volume: Volume): Promise<void>
}

export function createCleanup(deps: {
  log: Log
  files: Pick<VolumeFiles, 'wipe'>
  ledger: Pick<LedgerStore, 'remove'>
  budget: Pick<Budget, 'release'>
  volumes: Pick<Volumes, 'hasAny'>
  incomplete: Set<string>
  importUsers: Pick<ImportUsers, 'remove'>
  leasedPaths: Pick<LeasedPaths, 'forget'>
  identityUsers: Pick<IdentityUsers, 'release'>
}): Cleanup {
  const { log, files, ledger, budget, volumes, incomplete, importUsers, leasedPaths, identityUsers } = deps

  function attempt(targetPath: string, what: string, task: () => void): void {
    try {
      task()
    } catch (error) {
      const fields = { targetPath, what, error: toFault(error) }
      log.error(fields, 'a part of a volume could not be removed, going on')
    }
  }

  return {
    wipe: (targetPath) => attempt(targetPath, 'files', () => files.wipe(targetPath)),
    forget(targetPath) {
      incomplete.delete(targetPath)
      budget.release(targetPath)
      // A left entry is removed at the next start, for nothing is mounted there.
      attempt(targetPath, 'ledger entry', () => ledger.remove(targetPath))
    },
    async release(volume) {
      const { entry } = volume
      importUsers.remove(entry)
      const { namespace } = entry.pod
      if (!volumes.hasAny(namespace)) leasedPaths.forget(namespace)
      await identityUsers.release(volume)
    },
  }
}

/**
 * NodeUnpublishVolume: files deleted, nothing mounted, directory gone, and with the identity's last volume its
 * Vault token revoked. Anything already gone is success, or kubelet would try for ever. Only the unmount can fail it:
 * Vault, the ledger and the rest have some seconds, and then the mount goes without them.
 */
export function createUnpublish(deps: {
  log: Log
  mounter: Mounter
  refreshSchedule: Pick<RefreshSchedule, 'end'>
  volumes: Volumes
  scheduledRevocations: Pick<ScheduledRevocations, 'revokeAll'>
  cleanup: Cleanup
}): Unpublish {
  const { log, mounter, refreshSchedule, volumes, scheduledRevocations, cleanup } = deps

  /** Unknown (out of descriptors) counts as mounted. */
  function isMounted(targetPath: string): boolean {
    try {
      return mounter.isMounted(targetPath)
    } catch {
      return true
    }
  }

  return async ({ volumeId, targetPath }) => {
    const volume = volumes.get(targetPath)
    // Another volume is mounted there now: the requested one is gone, which is success.
    if (volume !== undefined && volume.entry.volumeId !== volumeId) return
    if (volume !== undefined) refreshSchedule.end(volume)
    if (isMounted(targetPath)) cleanup.wipe(targetPath)
    // Before the mount, which holds the lease store: killed here, the next process goes on with it.
    if (volume !== undefined) await scheduledRevocations.revokeAll(volume.leases.all)
    mounter.unmount(targetPath)
    cleanup.forget(targetPath)
    if (volume === undefined) return
    volumes.delete(volume)
    log.info({ volumeId, pod: volume.entry.pod, importName: volume.entry.importName }, 'volume unpublished')
    await cleanup.release(volume)
  }
}
