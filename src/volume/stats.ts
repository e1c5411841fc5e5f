import { closeSync, constants, openSync, statfsSync } from 'node:fs'
import { errorCode, hasCode } from '../core/errno.ts'
import { FaultError } from '../core/faults/fault.ts'
import type { VolumeStats } from '../core/ports/volume.ts'

/**
 * Size and use of the file system at `targetPath`, in bytes and inodes.
 * @throws FaultError volume_not_found when the path is gone, volume_io when it cannot be read
 */
export function volumeStats(targetPath: string): VolumeStats {
  const { bsize, blocks, bfree, bavail, files, ffree } = statfs(targetPath)
  return {
    bytes: { total: blocks * bsize, used: (blocks - bfree) * bsize, available: bavail * bsize },
    inodes: { total: files, used: files - ffree, available: ffree },
  }
}

function statfs(targetPath: string) {
  let dir: number | undefined
  try {
    dir = openSync(targetPath, constants.O_DIRECTORY | constants.O_NOFOLLOW)
    return statfsSync(`/proc/self/fd/${dir}`)
  } catch (error) {
    if (!hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) {
      const code = errorCode(error) ?? 'error'
      throw new FaultError('volume_io', { reason: `${code} at the volume at ${targetPath}` }, error)
    }
    throw new FaultError('volume_not_found', { reason: `no volume at ${targetPath}` }, error)
  } finally {
    if (dir !== undefined) closeSync(dir)
  }
}
