import { errorCode, ignoreCode } from '../core/errno.ts'
import { FaultError } from '../core/faults/fault.ts'
import type { SecretBytes } from '../core/secret.ts'
import type { Disk, FileStat } from './disk.ts'

/** A file to write to the volume, with its owner. */
export type NewFile = {
  name: string
  content: SecretBytes
  /** Permission bits. */
  mode: number
  uid: number
  gid: number
}

/** A file to write, with its modification time. */
export type StampedFile = NewFile & { mtimeNs: bigint }

/** A file as it is, and whether it has the wanted content. Contents are compared and not kept: they have no bound. */
export type ExistingFile = FileStat & { hasContent: boolean }

/**
 * Compares the file `wanted.name` with `wanted`, reading no more than the wanted size.
 * @returns undefined when it must not be written in place: not a plain file, or one with a second name
 */
export function inspectFile(disk: Disk, dir: number, wanted: NewFile): ExistingFile | undefined {
  const fd = openPlain(disk, dir, wanted.name)
  if (fd === undefined) return undefined
  try {
    const stat = disk.stat(fd)
    if (!stat.isFile || stat.links !== 1) return undefined
    const hasContent = stat.size === wanted.content.byteLength && disk.matches(fd, wanted.content.reveal())
    return { ...stat, hasContent }
  } finally {
    disk.close(fd)
  }
}

/** undefined: it is gone, or a container replaced it by something else since it was listed. */
export function openPlain(disk: Disk, dir: number, name: string): number | undefined {
  return ignoreCode(['ENOENT', 'ELOOP', 'ENXIO'], () => disk.openToRead(dir, name))
}

/**
 * Makes the file equal to `wanted` on its existing inode, changing only what differs.
 * The modification time is set last: two slots with equal times and contents need no more work.
 * @param existing the file as it is; undefined creates it
 */
export function writeFile(
  disk: Disk,
  dir: number,
  existing: ExistingFile | undefined,
  wanted: StampedFile,
): void {
  if (existing && isDone(existing, wanted)) return
  withFile(disk, dir, wanted.name, existing, (fd) => {
    if (!existing?.hasContent) putContent(disk, fd, existing, wanted)
    putOwner(disk, fd, wanted)
    if (disk.stat(fd).mtimeNs !== wanted.mtimeNs) disk.setMtime(fd, wanted.mtimeNs)
  })
}

/** Opens the existing file for writing, or a new one. */
export function withFile(
  disk: Disk,
  dir: number,
  name: string,
  existing: ExistingFile | undefined,
  use: (fd: number) => void,
): void {
  const fd = existing ? disk.openToWrite(dir, name) : disk.create(dir, name)
  try {
    use(fd)
  } finally {
    disk.close(fd)
  }
}

/** One write and no truncation to zero: a concurrent reader never finds the file empty. */
export function putContent(
  disk: Disk,
  fd: number,
  existing: ExistingFile | undefined,
  wanted: NewFile,
): void {
  const size = wanted.content.byteLength
  if (size > 0) disk.write(fd, wanted.content.reveal())
  if (existing && existing.size !== size) disk.truncate(fd, size)
}

/** @throws FaultError volume_io naming the group, which a user namespace may not have */
export function putOwner(disk: Disk, fd: number, wanted: NewFile): void {
  const { uid, gid, mode } = disk.stat(fd)
  if (uid !== wanted.uid || gid !== wanted.gid) chown(disk, fd, wanted)
  if (mode !== wanted.mode) disk.chmod(fd, wanted.mode)
}

function chown(disk: Disk, fd: number, { name, uid, gid }: NewFile): void {
  try {
    disk.chown(fd, uid, gid)
  } catch (error) {
    const code = errorCode(error)
    if (code !== 'EINVAL' && code !== 'EPERM') throw error
    const reason = `${code}: files cannot be given to uid ${uid} and gid ${gid} here`
    throw new FaultError('volume_io', { file: name, reason }, error)
  }
}

export function hasAttributes(existing: ExistingFile, wanted: NewFile): boolean {
  return existing.mode === wanted.mode && existing.uid === wanted.uid && existing.gid === wanted.gid
}

/** Nothing differs, including the modification time. */
export function isDone(existing: ExistingFile, wanted: StampedFile): boolean {
  return existing.hasContent && existing.mtimeNs === wanted.mtimeNs && hasAttributes(existing, wanted)
}
