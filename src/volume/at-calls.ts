import { closeSync, constants, fstatSync } from 'node:fs'
import koffi from 'koffi'
import { hasCode } from '../core/errno.ts'
import { SyscallError } from './syscalls.ts'

/** A directory entry's name: text, or its bytes where they are not valid UTF-8, as names of ours always are. */
export type Name = string | Buffer

export type Entry = { name: Name; kind: 'file' | 'directory' | 'link' | 'other' }

/**
 * System calls on a name in an open directory. The name is one part of a path and is never followed: whatever a
 * container renames or links meanwhile, each call concerns an entry of exactly this directory. Each throws a
 * SyscallError. 64-bit Linux only.
 */
export type AtCalls = {
  /** openat2(2) that never leaves the directory's mount (EXDEV); before Linux 5.6 openat(2), never its file system. */
  open(dir: number, name: Name, flags: number, mode?: number): number
  mkdir(dir: number, name: Name, mode: number): void
  /** unlinkat(2) of anything but a directory. */
  unlink(dir: number, name: Name): void
  rmdir(dir: number, name: Name): void
  rename(fromDir: number, from: Name, toDir: number, to: Name): void
  symlink(to: string, dir: number, name: Name): void
  readlink(dir: number, name: Name): string
  /** The entries of the directory without `.` and `..`, at most MOST_ENTRIES. */
  list(dir: number): Entry[]
  /** statx(2) by path, without a descriptor; undefined where nothing exists. `isMountRoot` undefined: not reported. */
  mountOf(path: string): { isMountRoot: boolean | undefined } | undefined
}

const OPENAT2 = 437
const GETDENTS64: Partial<Record<string, number>> = { x64: 217, arm64: 61 }
const RESOLVE_NO_XDEV = 1
const RESOLVE_NO_MAGICLINKS = 2
const RESOLVE_NO_SYMLINKS = 4
const RESOLVE_BENEATH = 8
const RESOLVE = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH
/** struct open_how and struct statx, in bytes. */
const HOW_BYTES = 24
const STATX_BYTES = 256
const { O_CREAT, O_NOFOLLOW } = constants
const O_CLOEXEC = 0o2000000
const AT_FDCWD = -100
const AT_REMOVEDIR = 0x200
/** AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT */
const AT_AS_IT_IS = 0x100 | 0x800
const STATX_ATTR_MOUNT_ROOT = 0x2000n
const PATH_MAX = 4096
/** More than the inodes of the volumes that we mount, or that earlier versions mounted. */
const MOST_ENTRIES = 40_000
const LIST_BYTES = 32 << 10
/** d_type of linux_dirent64 (readdir(3)). */
const KINDS: Partial<Record<number, Entry['kind']>> = { 4: 'directory', 8: 'file', 10: 'link' }
/** Offsets in linux_dirent64: d_reclen, d_type, d_name. */
const LENGTH_AT = 16
const TYPE_AT = 18
const NAME_AT = 19
const REPLACEMENT = '\ufffd'

/** @param isOldKernel for tests: does without openat2 */
export function createAtCalls({ isOldKernel = false }: { isOldKernel?: boolean } = {}): AtCalls {
  const libc = koffi.load(null)
  const getdents64 = GETDENTS64[process.arch]
  if (getdents64 === undefined) throw new Error(`processor architecture ${process.arch} is not supported`)
  // Variadic in C; a fixed list of integers and pointers is passed in the same way.
  const openat2 = libc.func('long syscall(long, long, const void *, const void *, size_t)')
  const getdents = libc.func('long syscall(long, long, void *, size_t)')
  const openat = libc.func('int openat(int, const void *, int, unsigned int)')
  const mkdirat = libc.func('int mkdirat(int, const void *, unsigned int)')
  const unlinkat = libc.func('int unlinkat(int, const void *, int)')
  const renameat = libc.func('int renameat(int, const void *, int, const void *)')
  const symlinkat = libc.func('int symlinkat(const char *, int, const void *)')
  const readlinkat = libc.func('long readlinkat(int, const void *, void *, size_t)')
  const lseek = libc.func('long lseek(int, long, int)')
  const statx = libc.func('int statx(int, const char *, int, unsigned int, void *)')

  const how = Buffer.alloc(HOW_BYTES)
  how.writeBigUInt64LE(BigInt(RESOLVE), 16)
  const text = Buffer.alloc(PATH_MAX)
  const status = Buffer.alloc(STATX_BYTES)

  let knowsOpenat2 = !isOldKernel

  function openPlain(dir: number, name: Name, flags: number, mode: number): number {
    return checked('openat', name, openat(dir, part(name), flags | O_NOFOLLOW | O_CLOEXEC, mode))
  }

  /** Does not recognize a mount of the same file system, which holds nothing that is not in it. */
  function openInFileSystem(dir: number, name: Name, flags: number, mode: number): number {
    const fd = openPlain(dir, name, flags, mode)
    if (fstatSync(fd).dev === fstatSync(dir).dev) return fd
    closeSync(fd)
    throw new SyscallError('openat', koffi.os.errno.EXDEV ?? 0, String(name))
  }

  return {
    open(dir, name, flags, mode = 0) {
      if (!knowsOpenat2) return openInFileSystem(dir, name, flags, mode)
      how.writeBigUInt64LE(BigInt(flags | O_NOFOLLOW | O_CLOEXEC), 0)
      how.writeBigUInt64LE(BigInt(flags & O_CREAT ? mode : 0), 8)
      const fd = Number(openat2(OPENAT2, dir, part(name), how, HOW_BYTES))
      if (fd >= 0 || koffi.errno() !== koffi.os.errno.ENOSYS) return checked('openat2', name, fd)
      knowsOpenat2 = false
      return openInFileSystem(dir, name, flags, mode)
    },
    mkdir: (dir, name, mode) => void checked('mkdirat', name, mkdirat(dir, part(name), mode)),
    unlink: (dir, name) => void checked('unlinkat', name, unlinkat(dir, part(name), 0)),
    rmdir: (dir, name) => void checked('unlinkat', name, unlinkat(dir, part(name), AT_REMOVEDIR)),
    rename: (fromDir, from, toDir, to) =>
      void checked('renameat', to, renameat(fromDir, part(from), toDir, part(to))),
    symlink: (to, dir, name) => void checked('symlinkat', name, symlinkat(to, dir, part(name))),
    readlink(dir, name) {
      const size = checked('readlinkat', name, Number(readlinkat(dir, part(name), text, text.byteLength)))
      return text.toString('utf8', 0, size)
    },
    list(dir) {
      const entries: Entry[] = []
      const buffer = Buffer.allocUnsafe(LIST_BYTES)
      checked('lseek', undefined, Number(lseek(dir, 0, 0)))
      while (entries.length < MOST_ENTRIES) {
        const size = checked('getdents64', undefined, Number(getdents(getdents64, dir, buffer, LIST_BYTES)))
        if (size === 0) break
        parseEntries(buffer.subarray(0, size), entries)
      }
      return entries
    },
    mountOf(path) {
      if (statx(AT_FDCWD, path, AT_AS_IT_IS, 0, status) !== 0) return throwUnlessMissing(path)
      // Before Linux 5.8 the mask, at 56, says that the attribute, at 8, is not reported.
      if ((status.readBigUInt64LE(56) & STATX_ATTR_MOUNT_ROOT) === 0n) return { isMountRoot: undefined }
      return { isMountRoot: (status.readBigUInt64LE(8) & STATX_ATTR_MOUNT_ROOT) !== 0n }
    },
  }
}

function parseEntries(buffer: Buffer, entries: Entry[]): void {
  for (let at = 0; at < buffer.byteLength; at += buffer.readUInt16LE(at + LENGTH_AT)) {
    const name = nameOf(buffer.subarray(at + NAME_AT, buffer.indexOf(0, at + NAME_AT)))
    if (name === '.' || name === '..') continue
    entries.push({ name, kind: KINDS[buffer.readUInt8(at + TYPE_AT)] ?? 'other' })
  }
}

function nameOf(bytes: Buffer): Name {
  const text = bytes.toString()
  // Text loses bytes that are not UTF-8, and they are needed to delete the entry.
  return text.includes(REPLACEMENT) && !Buffer.from(text).equals(bytes) ? Buffer.from(bytes) : text
}

/** NUL-terminated for the kernel. The last check that keeps paths out: names come from listings, links and imports. */
function part(name: Name): Buffer {
  const bytes = Buffer.from(typeof name === 'string' ? `${name}\0` : Buffer.concat([name, Buffer.of(0)]))
  const isPart = bytes.indexOf(0) === bytes.byteLength - 1 && !bytes.includes(0x2f)
  const isOther = bytes.byteLength > 1 && !bytes.equals(DOT) && !bytes.equals(DOT_DOT)
  if (isPart && isOther) return bytes
  throw new SyscallError('name', koffi.os.errno.EINVAL ?? 0, String(name))
}
const DOT = Buffer.from('.\0')
const DOT_DOT = Buffer.from('..\0')

function checked(syscall: string, name: Name | undefined, answer: number): number {
  if (answer >= 0) return answer
  throw new SyscallError(syscall, koffi.errno(), name === undefined ? undefined : String(name))
}

/** @throws SyscallError unless the last call failed because nothing exists at `path` */
function throwUnlessMissing(path: string): undefined {
  const error = new SyscallError('statx', koffi.errno(), path)
  if (!hasCode(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) throw error
}
