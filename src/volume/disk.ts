import { randomBytes } from 'node:crypto'
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  statfsSync,
  writeSync,
} from 'node:fs'
import { createAtCalls, type Entry, type Name } from './at-calls.ts'
import { createSyscalls } from './syscalls.ts'

export type FileStat = {
  isFile: boolean
  /** Number of names of the file. */
  links: number
  size: number
  mode: number
  uid: number
  gid: number
  mtimeNs: bigint
}

/**
 * File operations on volumes, each one system call (list, matches and write may be several).
 * Synchronous: a tmpfs is memory, and the thread pool would cost ten times the call.
 *
 * A container may have write access to its volume and change it while we work. So a place is an open directory and a
 * name in it, never a path; no link is followed, no other mount entered, and no FIFO or lock waited for.
 * Errors are Node's own or SyscallErrors.
 */
export type Disk = {
  /** The directory at `path`, or the mount on it. Only its parents, kubelet's own directories, may be links. */
  openVolume(path: string): number
  openDirectory(dir: number, name: Name): number
  openToRead(dir: number, name: Name): number
  openToWrite(dir: number, name: Name): number
  /** A new empty file, 0600, open for writing. */
  create(dir: number, name: Name): number
  close(fd: number): void
  /** The first 40,000 entries: more than a volume of ours may hold. */
  list(dir: number): Entry[]
  readlink(dir: number, name: Name): string
  /** Bytes that the file system allocates at a time, and its total size. */
  room(fd: number): { pageBytes: number; totalBytes: number }
  stat(fd: number): FileStat
  /** At most `size` bytes. */
  read(fd: number, size: number): Buffer
  /** Whether the file begins with these bytes; never reads more than their number. */
  matches(fd: number, bytes: Uint8Array): boolean
  write(fd: number, bytes: Uint8Array): void
  truncate(fd: number, size: number): void
  chown(fd: number, uid: number, gid: number): void
  chmod(fd: number, mode: number): void
  setMtime(fd: number, mtimeNs: bigint): void
  mkdir(dir: number, name: Name): void
  symlink(to: string, dir: number, name: Name): void
  rename(fromDir: number, from: Name, toDir: number, to: Name): void
  unlink(dir: number, name: Name): void
  rmdir(dir: number, name: Name): void
}

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = constants
/** How much of a compared file is in memory at a time. */
const COMPARED_BYTES = 64 << 10

/** @param isOldKernel for tests */
export function createDisk({ isOldKernel = false }: { isOldKernel?: boolean } = {}): Disk {
  const { setMtime } = createSyscalls()
  const at = createAtCalls({ isOldKernel })

  return {
    openVolume: (path) => openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW),
    openDirectory: (dir, name) => at.open(dir, name, O_RDONLY | O_DIRECTORY),
    // O_NONBLOCK: a FIFO in a file's place, or a lease taken on it (fcntl(2)), must not block the plugin.
    openToRead: (dir, name) => at.open(dir, name, O_RDONLY | O_NONBLOCK),
    openToWrite: (dir, name) => at.open(dir, name, O_WRONLY | O_NONBLOCK),
    create: (dir, name) => at.open(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NONBLOCK, 0o600),
    close: closeSync,
    list: at.list,
    readlink: at.readlink,
    room(fd) {
      const { bsize, blocks } = statfsSync(`/proc/self/fd/${fd}`)
      return { pageBytes: bsize, totalBytes: blocks * bsize }
    },
    stat: statFile,
    read: readUpTo,
    matches: matchesFile,
    write: writeWhole,
    truncate: ftruncateSync,
    chown: fchownSync,
    chmod: fchmodSync,
    setMtime,
    mkdir: (dir, name) => at.mkdir(dir, name, 0o755),
    symlink: at.symlink,
    rename: at.rename,
    unlink: at.unlink,
    rmdir: at.rmdir,
  }
}

/** A name that no container can guess and take in advance. */
export function freshName(prefix: string): string {
  return `${prefix}${randomBytes(8).toString('hex')}`
}

function statFile(fd: number): FileStat {
  const stat = fstatSync(fd, { bigint: true })
  return {
    isFile: stat.isFile(),
    links: Number(stat.nlink),
    size: Number(stat.size),
    mode: Number(stat.mode) & 0o7777,
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    mtimeNs: stat.mtimeNs,
  }
}

function readUpTo(fd: number, size: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(size)
  let at = 0
  while (at < size) {
    const count = readSync(fd, bytes, at, size - at, at)
    if (count === 0) break
    at += count
  }
  return bytes.subarray(0, at)
}

function matchesFile(fd: number, bytes: Uint8Array): boolean {
  const part = Buffer.allocUnsafeSlow(Math.min(COMPARED_BYTES, bytes.byteLength))
  let at = 0
  while (at < bytes.byteLength) {
    const count = readSync(fd, part, 0, Math.min(part.byteLength, bytes.byteLength - at), at)
    if (count === 0 || !part.subarray(0, count).equals(bytes.subarray(at, at + count))) return false
    at += count
  }
  return true
}

/** One pwrite, repeated only when the kernel writes less than asked. */
function writeWhole(fd: number, bytes: Uint8Array): void {
  let at = 0
  while (at < bytes.byteLength) at += writeSync(fd, bytes, at, bytes.byteLength - at, at)
}
