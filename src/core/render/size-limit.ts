import { FaultError } from '../faults/fault.ts'
import type { UpdateMode } from '../imports/import.ts'
import type { VolumeShape } from '../ports/volume.ts'

/** Files of one import, however small: each is some system calls at each change. */
const MAX_FILES = 1024

/** Whole sets of files that a volume keeps at its peak. */
const copies = { Live: 2, InPlace: 1, Atomic: 2 } satisfies Record<UpdateMode, number>

/** What the files of one import may have together. */
export type SizeLimit = {
  /** Counts one more file. @throws FaultError volume_full, import_too_large */
  add(bytes: number): void
}

/**
 * Counts while files are made, so that no more of them are made than the volume can hold. The exact count, with pages
 * and links, is taken when they are written.
 */
export function createSizeLimit({ sizeBytes: limitBytes, updateMode }: Omit<VolumeShape, 'gid'>): SizeLimit {
  let count = 0
  let sizeBytes = 0
  return {
    add(bytes) {
      count += 1
      sizeBytes += bytes * copies[updateMode]
      if (count > MAX_FILES) {
        throw new FaultError('import_too_large', { reason: `it makes more than ${MAX_FILES} files` })
      }
      if (sizeBytes <= limitBytes) return
      const reason = `${updateMode} keeps ${copies[updateMode] === 2 ? 'two copies' : 'one copy'}, counted up to the file that did not fit`
      throw new FaultError('volume_full', { sizeBytes, limitBytes, reason })
    },
  }
}
