import { toFault } from '../core/faults/fault.ts'
import type { Log } from '../core/ports/log.ts'
import type { LedgerEntry, VolumeFiles } from '../core/ports/volume.ts'
import { shapeOf } from './deliver.ts'

/**
 * Whether a mounted volume that is found has a complete set of files. A pod may be running on them: files that cannot be
 * repaired now are kept, the next look writes them anew.
 */
export async function hasFiles(
  { files, log }: { files: Pick<VolumeFiles, 'repair'>; log: Log },
  entry: LedgerEntry,
): Promise<boolean> {
  try {
    return await files.repair(entry.targetPath, shapeOf(entry))
  } catch (error) {
    const { volumeId, pod, targetPath } = entry
    log.error({ volumeId, pod, targetPath, error: toFault(error) }, 'files could not be repaired, they stay')
    return true
  }
}
