import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  renameSync,
  rmdirSync,
  statfsSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { createSyscalls } from './syscalls.ts'

export type Entry = { name: string; kind: 'file' | 'directory' | 'link' | 'other' }

export type FileStat = { size: number; mode: number; uid: number; gid: number; mtimeNs: bigint }

/**
 * The file operations that volumes are made of, each one system call (list and write may be several).
 * Synchronous: a tmpfs is memory, the thread pool would cost ten times the call. Errors are Node's own.
 * No operation follows a symlink in the last part of its path: a container may have write access to its volume.
 */
export type Disk = {
  list(path: string): Entry[]
  readlink(path: string): string
  /** Bytes that the file system sets aside at a time. */
  blockSize(path: string): number
  openDirectory(path: string): number
  openToRead(path: string): number
  openToWrite(path: string): number
  /** A new empty file, 0600, open for writing. */
  create(path: string): number
  close(fd: number): void
  stat(fd: number): FileStat
  read(fd: number, size: number): Buffer
  write(fd: number, bytes: Uint8Array): void
  truncate(fd: number, size: number): void
  chown(fd: number, uid: number, gid: number): void
  chmod(fd: number, mode: number): void
  setMtime(fd: number, mtimeNs: bigint): void
  mkdir(path: string): void
  /** A new directory whose name begins with `prefix`; answers its path. */
  mkdirFresh(prefix: string): string
  symlink(to: string, path: string): void
  rename(from: string, to: string): void
  unlink(path: string): void
  rmdir(path: string): void
}

const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = constants
// O_NONBLOCK: a FIFO put in a file's place must not hold the plugin.
const SAFE = O_NOFOLLOW | O_NONBLOCK

export function createDisk(): Disk {
  const { setMtime } = createSyscalls()
  return {
    list: listDirectory,
    readlink: (path) => readlinkSync(path),
    blockSize: (path) => statfsSync(path).bsize,
    openDirectory: (path) => openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW),
    openToRead: (path) => openSync(path, O_RDONLY | SAFE),
    openToWrite: (path) => openSync(path, O_WRONLY | SAFE),
    create: (path) => openSync(path, O_WRONLY | O_CREAT | O_EXCL | SAFE, 0o600),
    close: closeSync,
    stat: statFile,
    read: readWhole,
    write: writeWhole,
    truncate: ftruncateSync,
    chown: fchownSync,
    chmod: fchmodSync,
    setMtime,
    mkdir: (path) => mkdirSync(path, 0o755),
    mkdirFresh: (prefix) => mkdtempSync(prefix),
    symlink: symlinkSync,
    rename: renameSync,
    unlink: unlinkSync,
    rmdir: (path) => rmdirSync(path),
  }
}

function listDirectory(path: string): Entry[] {
  return readdirSync(path, { withFileTypes: true }).map((entry) => {
    if (entry.isFile()) return { name: entry.name, kind: 'file' }
    if (entry.isDirectory()) return { name: entry.name, kind: 'directory' }
    if (entry.isSymbolicLink()) return { name: entry.name, kind: 'link' }
    return { name: entry.name, kind: 'other' }
  })
}

function statFile(fd: number): FileStat {
  const stat = fstatSync(fd, { bigint: true })
  return {
    size: Number(stat.size),
    mode: Number(stat.mode) & 0o7777,
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    mtimeNs: stat.mtimeNs,
  }
}

function readWhole(fd: number, size: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(size)
  let at = 0
  while (at < size) {
    const count = readSync(fd, bytes, at, size - at, at)
    if (count === 0) break
    at += count
  }
  return bytes.subarray(0, at)
}

/** One pwrite; the loop is for the kernel's right to write less. */
function writeWhole(fd: number, bytes: Uint8Array): void {
  let at = 0
  while (at < bytes.byteLength) at += writeSync(fd, bytes, at, bytes.byteLength - at, at)
}
