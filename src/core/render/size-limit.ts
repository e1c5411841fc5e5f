import { FaultError } from '../faults/fault.ts'
import type { UpdateMode } from '../imports/import.ts'
import type { VolumeShape } from '../ports/volume.ts'

/** Files of one import, however small: every change takes some system calls per file. */
const MAX_FILES = 1024

/** File sets that a volume stores at its peak. */
const copies = { Live: 2, InPlace: 1, Atomic: 2 } satisfies Record<UpdateMode, number>

/** Limit on the files of one import: their number and total size. */
export type SizeLimit = {
  /** Adds a file of so many bytes. @throws FaultError volume_full, import_too_large */
  add(bytes: number): void
}

/**
 * Counts files while they are rendered, so that rendering stops when the volume cannot hold them. Writing them checks the
 * exact size, with pages and links.
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
