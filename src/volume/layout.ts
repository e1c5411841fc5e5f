import { FaultError } from '../core/faults/fault.ts'
import type { NewFile } from './file.ts'
import type { Change } from './slot.ts'

/** How one update mode arranges files in the volume's open directory `root`. Errors are system errors or FaultErrors. */
export type Layout = {
  /** @throws FaultError volume_full, import_too_large before anything is touched */
  apply(root: number, sizeBytes: number, files: readonly NewFile[]): Promise<Change>
  /** False: there is no complete set of files. */
  repair(root: number, sizeBytes: number): Promise<boolean>
}

/** A symlink whose target is at least this long takes a page of its own on tmpfs. */
const LONG_LINK_BYTES = 128

/** Of one volume: its mount has inodes for them (mount.ts). */
export const MOST_FILES = 2_000

/**
 * Refuses a set of files that the volume could not hold, before anything is touched.
 * @param copies how many whole sets the update mode keeps at its peak
 * @param linkPrefix the part of each file's link before the name; undefined: no links
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
