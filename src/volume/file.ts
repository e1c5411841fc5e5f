import { FaultError } from '../core/faults/fault.ts'
import type { SecretBytes } from '../core/secret.ts'
import { hasCode } from './directory.ts'
import type { Disk, FileStat } from './disk.ts'

/** A file as it shall stand in the volume, owner decided. */
export type NewFile = {
  name: string
  content: SecretBytes
  /** Permission bits. */
  mode: number
  uid: number
  gid: number
}

/** A file as it shall stand down to its modification time. */
export type StampedFile = NewFile & { mtimeNs: bigint }

/** A file as it stands, and whether it has the wanted content. Contents are compared and not kept: they have no bound. */
export type HeldFile = FileStat & { hasContent: boolean }

/**
 * Looks at the file `wanted.name`, reading no more of it than is wanted.
 * @returns undefined when it is not ours to write in place: no plain file, or one that has a second name
 */
export function lookAt(disk: Disk, dir: number, wanted: NewFile): HeldFile | undefined {
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

/** undefined: it is gone, or a container put something else there since it was listed. */
export function openPlain(disk: Disk, dir: number, name: string): number | undefined {
  try {
    return disk.openToRead(dir, name)
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ELOOP', 'ENXIO')) return undefined
    throw error
  }
}

/**
 * Makes the file equal to `wanted` on its present inode, touching only what differs.
 * The modification time is set last: two slots that agree in it and in content are done with each other.
 * @param held what stands there now; undefined creates it
 */
export function writeFile(disk: Disk, dir: number, held: HeldFile | undefined, wanted: StampedFile): void {
  if (held && isDone(held, wanted)) return
  withFile(disk, dir, wanted.name, held, (fd) => {
    if (!held?.hasContent) putContent(disk, fd, held, wanted)
    putOwner(disk, fd, wanted)
    if (disk.stat(fd).mtimeNs !== wanted.mtimeNs) disk.setMtime(fd, wanted.mtimeNs)
  })
}

/** Opens the file that is held, or a new one. */
export function withFile(
  disk: Disk,
  dir: number,
  name: string,
  held: HeldFile | undefined,
  use: (fd: number) => void,
): void {
  const fd = held ? disk.openToWrite(dir, name) : disk.create(dir, name)
  try {
    use(fd)
  } finally {
    disk.close(fd)
  }
}

/** One write and no truncation to zero: whoever reads meanwhile never finds the file empty. */
export function putContent(disk: Disk, fd: number, held: HeldFile | undefined, wanted: NewFile): void {
  const size = wanted.content.byteLength
  if (size > 0) disk.write(fd, wanted.content.reveal())
  if (held && held.size !== size) disk.truncate(fd, size)
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
    const code = ['EINVAL', 'EPERM'].find((known) => hasCode(error, known))
    if (code === undefined) throw error
    const reason = `${code}: files cannot be given to uid ${uid} and gid ${gid} here`
    throw new FaultError('volume_io', { file: name, reason }, error)
  }
}

export function hasAttributes(held: HeldFile, wanted: NewFile): boolean {
  return held.mode === wanted.mode && held.uid === wanted.uid && held.gid === wanted.gid
}

/** Nothing is left to do, down to the modification time. */
export function isDone(held: HeldFile, wanted: StampedFile): boolean {
  return held.hasContent && held.mtimeNs === wanted.mtimeNs && hasAttributes(held, wanted)
}
