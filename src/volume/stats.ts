import { statfsSync } from 'node:fs'
import { FaultError } from '../core/errors.ts'
import type { VolumeStats } from '../core/ports.ts'

/**
 * What the file system at `targetPath` holds, in bytes and inodes.
 * @throws FaultError volume_not_found when the path is gone
 */
export function volumeStats(targetPath: string): VolumeStats {
  const { bsize, blocks, bfree, bavail, files, ffree } = statfs(targetPath)
  return {
    bytes: { total: blocks * bsize, used: (blocks - bfree) * bsize, available: bavail * bsize },
    inodes: { total: files, used: files - ffree, available: ffree },
  }
}

function statfs(targetPath: string) {
  try {
    return statfsSync(targetPath)
  } catch (error) {
    throw new FaultError('volume_not_found', { reason: `no volume at ${targetPath}` }, error)
  }
}
