import koffi from 'koffi'
import { ignoreCode } from '../core/errno.ts'

/** The system calls that Node does not offer. Each throws a SyscallError. 64-bit Linux only. */
export type Syscalls = {
  /** mount(2): `data` is the file system's own option string. */
  mount(source: string, target: string, fileSystem: string, flags: number, data: string): void
  /** flock(2) LOCK_EX | LOCK_NB on an open file. False: another process holds it. The kernel releases it when the holder ends. */
  tryLock(fd: number): boolean
  /** umount2(2) */
  unmount(target: string, flags: number): void
  /** futimens(2) that sets only the modification time, in nanoseconds since the Unix epoch. */
  setMtime(fd: number, mtimeNs: bigint): void
  /**
   * prctl(2) PR_SET_DUMPABLE 0: no core file of this process, and no debugger of another one. setrlimit(2): no core
   * file of processes that it starts.
   */
  forbidCoreDumps(): void
  /** fsetxattr(2): creates or replaces. */
  setAttribute(fd: number, name: string, value: Uint8Array): void
  /** fgetxattr(2); undefined where there is no such attribute. */
  getAttribute(fd: number, name: string): Buffer | undefined
  /** fremovexattr(2); a missing one is success. */
  removeAttribute(fd: number, name: string): void
}

/** mount(2) and umount2(2) flags, from the kernel's uapi headers. */
export const MS_NOSUID = 2
export const MS_NODEV = 4
export const MS_NOEXEC = 8
export const MS_REMOUNT = 32
export const MNT_DETACH = 2
export const UMOUNT_NOFOLLOW = 8
/** The kernel's limit for the value of one extended attribute, in bytes (XATTR_SIZE_MAX). */
export const ATTRIBUTE_MAX = 65_536

const PR_SET_DUMPABLE = 4
const LOCK_EX_NB = 2 | 4
const RLIMIT_CORE = 4
const UTIME_OMIT = 0x3ffffffen
const NS_PER_SECOND = 1_000_000_000n

/** A system call that failed; `code` is errno's name, as in Node's own errors. */
export class SyscallError extends Error {
  override readonly name = 'SyscallError'
  readonly syscall: string
  readonly code: string

  /** The name that it was called with, if any. */
  readonly path: string | undefined

  constructor(syscall: string, errno: number, path?: string) {
    const code = errnoName(errno)
    super(`${code} at ${syscall}(2)`)
    this.syscall = syscall
    this.code = code
    this.path = path
  }
}

export function createSyscalls(): Syscalls {
  // null is the process itself: the libc that Node is linked with.
  const libc = koffi.load(null)
  const mount = libc.func('int mount(const char *, const char *, const char *, unsigned long, const char *)')
  const umount2 = libc.func('int umount2(const char *, int)')
  const futimens = libc.func('int futimens(int, const void *)')
  const flock = libc.func('int flock(int, int)')
  const setrlimit = libc.func('int setrlimit(int, const void *)')
  const prctl = libc.func('int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)')
  const fsetxattr = libc.func('int fsetxattr(int, const char *, const void *, size_t, int)')
  const fgetxattr = libc.func('long fgetxattr(int, const char *, void *, size_t)')
  const fremovexattr = libc.func('int fremovexattr(int, const char *)')
  return {
    mount: (source, target, fileSystem, flags, data) =>
      check('mount', mount(source, target, fileSystem, flags, data)),
    tryLock(fd) {
      if (flock(fd, LOCK_EX_NB) === 0) return true
      if (koffi.errno() === koffi.os.errno.EAGAIN) return false
      throw new SyscallError('flock', koffi.errno())
    },
    unmount: (target, flags) => check('umount2', umount2(target, flags)),
    setMtime(fd, mtimeNs) {
      // struct timespec[2]: access time left as it is, then the modification time.
      const times = BigInt64Array.of(0n, UTIME_OMIT, mtimeNs / NS_PER_SECOND, mtimeNs % NS_PER_SECOND)
      check('futimens', futimens(fd, times))
    },
    forbidCoreDumps() {
      check('prctl', prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
      // For child processes, which do not inherit the flag. For a core_pattern that is a pipe, a limit of one byte means
      // no core file, and 0 means no limit (fs/coredump.c).
      check('setrlimit', setrlimit(RLIMIT_CORE, BigUint64Array.of(1n, 1n)))
    },
    setAttribute: (fd, name, value) => check('fsetxattr', fsetxattr(fd, name, value, value.byteLength, 0)),
    getAttribute(fd, name) {
      const value = Buffer.alloc(ATTRIBUTE_MAX)
      const size = Number(fgetxattr(fd, name, value, value.byteLength))
      if (size >= 0) return value.subarray(0, size)
      return void ignoreCode(['ENODATA'], () => check('fgetxattr', size))
    },
    removeAttribute: (fd, name) =>
      ignoreCode(['ENODATA'], () => check('fremovexattr', fremovexattr(fd, name))),
  }
}

function check(syscall: string, answer: number): void {
  if (answer !== 0) throw new SyscallError(syscall, koffi.errno())
}

/** The first of several names for a number: EAGAIN, not EWOULDBLOCK. */
const errnoNames = new Map(
  Object.entries(koffi.os.errno)
    .toReversed()
    .map(([name, number]) => [number, name]),
)

function errnoName(errno: number): string {
  return errnoNames.get(errno) ?? `errno ${errno}`
}
