import { closeSync, constants, mkdirSync, openSync, readFileSync, rmdirSync, statfsSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { FaultError } from '../core/faults/fault.ts'
import type { Mounter } from '../core/ports/volume.ts'
import { type AtCalls, createAtCalls } from './at-calls.ts'
import { MOST_FILES } from './capacity.ts'
import { parseMountinfo } from './mountinfo.ts'
import {
  createSyscalls,
  MNT_DETACH,
  MS_NODEV,
  MS_NOEXEC,
  MS_NOSUID,
  MS_REMOUNT,
  SyscallError,
  type Syscalls,
  UMOUNT_NOFOLLOW,
} from './syscalls.ts'

/** How our mounts show themselves in /proc/mounts. */
const SOURCE = 'vault-files-csi'
const FLAGS = MS_NOSUID | MS_NODEV | MS_NOEXEC
/**
 * Live takes three for a file; the fourth is room for what containers with write access put beside. So many kibibytes
 * may all names, and attributes that containers set (`user.` ones, from Linux 6.6), take of the kernel's memory too.
 */
const INODES = 4 * MOST_FILES + 192
/** What Node has no name for; open(2) and statfs(2). */
const O_PATH = 0o10000000
const TMPFS_MAGIC = 0x01021994
const { O_DIRECTORY, O_NOFOLLOW } = constants

export type MountCalls = Pick<Syscalls, 'mount' | 'unmount'> & Pick<AtCalls, 'mountOf'>

/** @param syscalls for tests */
export function createMounter({ syscalls = realCalls() }: { syscalls?: MountCalls } = {}): Mounter {
  // Kernels before 6.4, and user namespaces, refuse noswap. Learnt at the first mount.
  let noswap: 'unknown' | 'accepted' | 'refused' = 'unknown'

  function mountTmpfs(place: string, flags: number, options: string): void {
    if (noswap === 'refused') {
      syscalls.mount(SOURCE, place, 'tmpfs', flags, options)
      return
    }
    try {
      syscalls.mount(SOURCE, place, 'tmpfs', flags, `${options},noswap`)
      noswap = 'accepted'
    } catch (error) {
      if (noswap === 'accepted' || !isCode(error, 'EINVAL')) throw error
      syscalls.mount(SOURCE, place, 'tmpfs', flags, options)
      noswap = 'refused'
    }
  }

  /** Which mount a directory is on is told in microseconds and without a descriptor: cleanup goes through without any. */
  function isMounted(targetPath: string): boolean {
    const found = syscalls.mountOf(targetPath)
    return found !== undefined && (found.isMountRoot ?? differsFromParent(targetPath))
  }

  return {
    mount(targetPath, { sizeBytes, gid }) {
      const group = gid === undefined ? '' : `,gid=${gid}`
      try {
        withOpen(dirname(targetPath), O_DIRECTORY, (parent) => {
          // From here on the parent stays this one, and nothing that stands in the target's place is followed.
          const place = `/proc/self/fd/${parent}/${basename(targetPath)}`
          makeDirectory(place)
          withOpen(place, O_DIRECTORY | O_NOFOLLOW, (target) =>
            mountTmpfs(
              `/proc/self/fd/${target}`,
              FLAGS,
              `size=${sizeBytes},nr_inodes=${INODES},mode=0755${group}`,
            ),
          )
          if (!isMounted(place)) throw new Error('the directory was replaced while it was mounted on')
        })
      } catch (error) {
        throw failed(`tmpfs (size=${sizeBytes}${group}) on ${targetPath}`, error)
      }
    },

    resize(targetPath, sizeBytes) {
      try {
        withOpen(targetPath, O_DIRECTORY | O_NOFOLLOW, (root) => {
          const place = `/proc/self/fd/${root}`
          if (statfsSync(place).type !== TMPFS_MAGIC) throw new Error('no tmpfs is mounted there')
          // Options that are not named stay; flags do not. The kernel wants noswap said again.
          mountTmpfs(place, FLAGS | MS_REMOUNT, `size=${sizeBytes}`)
        })
      } catch (error) {
        throw failed(`new size=${sizeBytes} of ${targetPath}`, error)
      }
    },

    // procfs, which is there wherever we run, tells the machine's page, as tmpfs does.
    pageBytes: statfsSync('/proc').bsize,

    unmount(targetPath) {
      while (unmountTop(syscalls, targetPath)) {}
      // A mount that came from outside our user namespace answers EINVAL, as a path that is no mount does.
      if (isMounted(targetPath)) throw failed(targetPath, 'it is mounted and locked')
      removeDirectory(targetPath)
    },

    list: listMounts,
    isMounted,
  }
}

/** Takes one mount off. False: nothing is mounted there any more. */
function unmountTop(syscalls: MountCalls, targetPath: string): boolean {
  for (const flags of [UMOUNT_NOFOLLOW, UMOUNT_NOFOLLOW, UMOUNT_NOFOLLOW | MNT_DETACH]) {
    try {
      syscalls.unmount(targetPath, flags)
      return true
    } catch (error) {
      if (isCode(error, 'EINVAL', 'ENOENT')) return false
      // Somebody still has a file open: once more, then detach, which goes through at the last close.
      if (!isCode(error, 'EBUSY') || flags & MNT_DETACH) throw failed(targetPath, error)
    }
  }
  return false
}

function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o750 })
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error
  }
}

/** Never more than the empty directory: files in it would not be ours. */
function removeDirectory(path: string): void {
  try {
    rmdirSync(path)
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw failed(path, error)
  }
}

function listMounts(): Map<string, string> {
  return parseMountinfo(readFileSync('/proc/self/mountinfo', 'utf8'))
}

/** Before Linux 5.8. A thousand mounts make mountinfo a millisecond long; this takes 30 µs. */
function differsFromParent(targetPath: string): boolean {
  return mountIdOf(targetPath) !== mountIdOf(dirname(targetPath))
}

/** Of the mount that a directory is on (proc_pid_fdinfo(5)). */
function mountIdOf(path: string): string | undefined {
  return withOpen(
    path,
    O_DIRECTORY,
    (fd) => /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1],
  )
}

/** Open to point at and not to read. */
function withOpen<Answer>(path: string, flags: number, use: (fd: number) => Answer): Answer {
  const fd = openSync(path, O_PATH | flags)
  try {
    return use(fd)
  } finally {
    closeSync(fd)
  }
}

function realCalls(): MountCalls {
  return { ...createSyscalls(), mountOf: createAtCalls().mountOf }
}

function isCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof SyscallError && codes.includes(error.code)
}

function errorCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}

function failed(what: string, cause: unknown): FaultError {
  const words = cause instanceof Error ? cause.message : String(cause)
  return new FaultError('mount_failed', { reason: `${what}: ${words}` }, cause)
}
