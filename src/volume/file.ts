import { FaultError } from '../core/errors.ts'
import { SecretBytes } from '../core/secret.ts'
import { hasCode } from './directory.ts'
import type { Disk } from './disk.ts'

/** A file as it shall stand in the volume, owner decided. */
export type NewFile = {
  name: string
  content: SecretBytes
  /** Permission bits. */
  mode: number
  uid: number
  gid: number
}

/** A file as it stands, or as it shall stand down to its modification time. */
export type HeldFile = NewFile & { mtimeNs: bigint }

export function readFile(disk: Disk, path: string, name: string): HeldFile {
  const fd = disk.openToRead(path)
  try {
    const { size, mode, uid, gid, mtimeNs } = disk.stat(fd)
    return { name, content: new SecretBytes(disk.read(fd, size)), mode, uid, gid, mtimeNs }
  } finally {
    disk.close(fd)
  }
}

/**
 * Makes the file at `path` equal to `wanted` on its present inode, touching only what differs.
 * The modification time is set last: two slots that agree in it and in content are done with each other.
 * @param held what stands at `path` now; undefined creates it
 */
export function writeFile(disk: Disk, path: string, held: HeldFile | undefined, wanted: HeldFile): void {
  if (held && sameFile(held, wanted)) return
  withFile(disk, path, held, (fd) => {
    if (!held || !sameContent(held, wanted)) putContent(disk, fd, held, wanted)
    putOwner(disk, fd, wanted)
    if (disk.stat(fd).mtimeNs !== wanted.mtimeNs) disk.setMtime(fd, wanted.mtimeNs)
  })
}

/** Opens the file that is held, or a new one. */
export function withFile(
  disk: Disk,
  path: string,
  held: HeldFile | undefined,
  use: (fd: number) => void,
): void {
  const fd = held ? disk.openToWrite(path) : disk.create(path)
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
  if (held && held.content.byteLength !== size) disk.truncate(fd, size)
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

export function sameContent(one: NewFile, other: NewFile): boolean {
  return one.content.equals(other.content)
}

export function sameAttributes(one: NewFile, other: NewFile): boolean {
  return one.mode === other.mode && one.uid === other.uid && one.gid === other.gid
}

export function sameFile(one: HeldFile, other: HeldFile): boolean {
  return one.mtimeNs === other.mtimeNs && sameAttributes(one, other) && sameContent(one, other)
}
