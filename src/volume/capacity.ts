import { FaultError } from '../core/faults/fault.ts'
import type { NewFile } from './file.ts'

/** A symlink whose target is at least this long takes a page of its own on tmpfs. */
const LONG_LINK_BYTES = 128

/** Of one volume: its mount has inodes for them (mount.ts). */
export const MOST_FILES = 2_000

/**
 * Refuses a set of files that the volume could not hold, before anything is touched.
 * @param copies how many whole sets the update mode keeps at its peak
 * @param linkPrefix what stands before the name in the link of each file; undefined: no links
 * @throws FaultError volume_full, import_too_large
 */
export function checkCapacity(
  files: readonly NewFile[],
  room: { sizeBytes: number; pageBytes: number; copies: 1 | 2; reason: string; linkPrefix?: string },
): void {
  if (files.length > MOST_FILES) {
    const reason = `${files.length} files, a volume holds ${MOST_FILES}`
    throw new FaultError('import_too_large', { reason })
  }
  const pages = (bytes: number) => Math.ceil(bytes / room.pageBytes) * room.pageBytes
  const contents = files.reduce((sum, { content }) => sum + pages(content.byteLength), 0)
  const links =
    room.linkPrefix === undefined ? 0 : files.filter(({ name }) => isLong(room.linkPrefix + name)).length
  const sizeBytes = contents * room.copies + links * room.pageBytes
  if (sizeBytes <= room.sizeBytes) return
  throw new FaultError('volume_full', { sizeBytes, limitBytes: room.sizeBytes, reason: room.reason })
}

function isLong(target: string): boolean {
  return Buffer.byteLength(target) >= LONG_LINK_BYTES
}
