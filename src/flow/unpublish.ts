import type { Mounter, VolumeFiles } from '../core/mounted.ts'
import type { LedgerStore, Log } from '../core/ports.ts'
import type { Leases } from './leases.ts'
import type { Release } from './release.ts'
import type { Rotation } from './rotate.ts'
import type { Volumes } from './volumes.ts'

export type Unpublish = (request: { volumeId: string; targetPath: string }) => Promise<void>

/**
 * NodeUnpublishVolume: files deleted, nothing mounted, directory gone, and with the identity's last volume its
 * Vault token revoked. Anything already gone is success, or kubelet would try for ever.
 */
export function createUnpublish(deps: {
  log: Log
  mounter: Mounter
  files: VolumeFiles
  ledger: LedgerStore
  release: Release
  rotation: Rotation
  volumes: Volumes
  leases: Pick<Leases, 'release'>
}): Unpublish {
  const { log, mounter, files, ledger, release, rotation, volumes, leases } = deps

  return async ({ volumeId, targetPath }) => {
    const volume = volumes.get(targetPath)
    // Another volume lives there now: the asked one is gone, which is success.
    if (volume !== undefined && volume.entry.volumeId !== volumeId) return
    if (volume !== undefined) rotation.end(volume)
    if (mounter.isMounted(targetPath)) files.wipe(targetPath)
    // Before the mount and what is kept in it go: killed here, the next process goes on with it.
    if (volume !== undefined) await leases.release(volume)
    mounter.unmount(targetPath)
    ledger.remove(targetPath)
    if (volume === undefined) return
    volumes.delete(targetPath)
    log.info({ volumeId, pod: volume.entry.pod, importName: volume.entry.importName }, 'volume unpublished')
    if (volume.identity !== undefined) await release(volume.identity.key, volumeId)
  }
}
