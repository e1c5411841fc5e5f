import { toFault } from '../core/faults/fault.ts'
import type { Log } from '../core/ports/log.ts'
import type { LedgerStore, Mounter, VolumeFiles } from '../core/ports/volume.ts'
import type { Budget } from './budget.ts'
import type { ImportUsers } from './import-users.ts'
import type { LeasedPaths } from './leases/leased-paths.ts'
import type { Leases } from './leases/leases.ts'
import type { Rotation } from './refresh.ts'
import type { Release } from './release.ts'
import type { MountedVolume, Volumes } from './volumes.ts'

export type Unpublish = (request: { volumeId: string; targetPath: string }) => Promise<void>

/** What goes with a volume besides its mount; each part by itself, whatever becomes of the others. Never throws. */
export type Farewell = {
  /** Deletes the files of what is mounted there. */
  wipe(targetPath: string): void
  /** Nothing is mounted there any more, and nobody is to find it again. */
  forget(targetPath: string): void
  /** The volume is in no list any more: what it used alone is let go of. Ends within some seconds. */
  leave(volume: Pick<MountedVolume, 'entry' | 'identity'>): Promise<void>
}

export function createFarewell(deps: {
  log: Log
  files: Pick<VolumeFiles, 'wipe'>
  ledger: Pick<LedgerStore, 'remove'>
  budget: Pick<Budget, 'release'>
  volumes: Pick<Volumes, 'hasAny'>
  incomplete: Set<string>
  importUsers: Pick<ImportUsers, 'remove'>
  leasedPaths: Pick<LeasedPaths, 'forget'>
  release: Release
}): Farewell {
  const { log, files, ledger, budget, volumes, incomplete, importUsers, leasedPaths, release } = deps

  function attempt(targetPath: string, what: string, task: () => void): void {
    try {
      task()
    } catch (error) {
      log.error(
        { targetPath, what, error: toFault(error) },
        'a part of a volume could not be removed, going on',
      )
    }
  }

  return {
    wipe: (targetPath) => attempt(targetPath, 'files', () => files.wipe(targetPath)),
    forget(targetPath) {
      incomplete.delete(targetPath)
      budget.release(targetPath)
      // Without it the next start finds an entry of which nothing is mounted, and forgets it then.
      attempt(targetPath, 'ledger entry', () => ledger.remove(targetPath))
    },
    async leave({ entry, identity }) {
      importUsers.remove(entry)
      const { namespace } = entry.pod
      if (!volumes.hasAny(namespace)) leasedPaths.forget(namespace)
      if (identity !== undefined) await release(identity.key, entry.volumeId)
    },
  }
}

/**
 * NodeUnpublishVolume: files deleted, nothing mounted, directory gone, and with the identity's last volume its
 * Vault token revoked. Anything already gone is success, or kubelet would try for ever. Only what kubelet waits for can
 * fail it: Vault, the ledger and the rest have some seconds, and then the mount goes without them.
 */
export function createUnpublish(deps: {
  log: Log
  mounter: Mounter
  rotation: Rotation
  volumes: Volumes
  leases: Pick<Leases, 'release'>
  farewell: Farewell
}): Unpublish {
  const { log, mounter, rotation, volumes, leases, farewell } = deps

  /** Who cannot look (out of descriptors) takes it for mounted. */
  function isMounted(targetPath: string): boolean {
    try {
      return mounter.isMounted(targetPath)
    } catch {
      return true
    }
  }

  return async ({ volumeId, targetPath }) => {
    const volume = volumes.get(targetPath)
    // Another volume lives there now: the asked one is gone, which is success.
    if (volume !== undefined && volume.entry.volumeId !== volumeId) return
    if (volume !== undefined) rotation.end(volume)
    if (isMounted(targetPath)) farewell.wipe(targetPath)
    // Before the mount and what is kept in it go: killed here, the next process goes on with it.
    if (volume !== undefined) await leases.release(volume)
    mounter.unmount(targetPath)
    farewell.forget(targetPath)
    if (volume === undefined) return
    volumes.delete(targetPath)
    log.info({ volumeId, pod: volume.entry.pod, importName: volume.entry.importName }, 'volume unpublished')
    await farewell.leave(volume)
  }
}
