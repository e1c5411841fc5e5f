import { closeSync, constants, mkdirSync, openSync, readFileSync, rmdirSync, statfsSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { hasCode, ignoreCode } from '../core/errno.ts'
import { FaultError } from '../core/faults/fault.ts'
import type { Mounter } from '../core/ports/volume.ts'
import { type AtCalls, createAtCalls } from './at-calls.ts'
import { MOST_FILES } from './layout.ts'
import {
  createSyscalls,
  MNT_DETACH,
  MS_NODEV,
  MS_NOEXEC,
  MS_NOSUID,
  MS_REMOUNT,
  type Syscalls,
  UMOUNT_NOFOLLOW,
} from './syscalls.ts'

/** The source of our mounts in /proc/mounts. */
const SOURCE = 'vault-files-csi'
const FLAGS = MS_NOSUID | MS_NODEV | MS_NOEXEC
/**
 * Live takes three for a file; the fourth is for files that containers with write access add. It also limits, in
 * kibibytes, the kernel memory of names and of attributes that containers set (`user.` ones, from Linux 6.6).
 */
const INODES = 4 * MOST_FILES + 192
/** Constants of open(2) and statfs(2) that Node does not export. */
const O_PATH = 0o10000000
const TMPFS_MAGIC = 0x01021994
const { O_DIRECTORY, O_NOFOLLOW } = constants

export type MountCalls = Pick<Syscalls, 'mount' | 'unmount'> & Pick<AtCalls, 'mountOf'>

/** @param syscalls for tests */
export function createMounter({ syscalls = realCalls() }: { syscalls?: MountCalls } = {}): Mounter {
  // Kernels before 6.4, and user namespaces, refuse noswap: found out at the first mount.
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
      if (noswap === 'accepted' || !hasCode(error, 'EINVAL')) throw error
      syscalls.mount(SOURCE, place, 'tmpfs', flags, options)
      noswap = 'refused'
    }
  }

  /** Takes microseconds and no descriptor: cleanup works when descriptors have run out. */
  function isMounted(targetPath: string): boolean {
    const found = syscalls.mountOf(targetPath)
    return found !== undefined && (found.isMountRoot ?? differsFromParent(targetPath))
  }

  return {
    mount(targetPath, { sizeBytes, gid }) {
      const group = gid === undefined ? '' : `,gid=${gid}`
      try {
        withOpen(dirname(targetPath), O_DIRECTORY, (parent) => {
          // From here on the parent cannot be exchanged, and a link in the target's place is not followed.
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
          // Options that are not named stay, flags do not. noswap must be repeated.
          mountTmpfs(place, FLAGS | MS_REMOUNT, `size=${sizeBytes}`)
        })
      } catch (error) {
        throw failed(`new size=${sizeBytes} of ${targetPath}`, error)
      }
    },

    // procfs, which exists wherever we run, reports the machine's page size, as tmpfs does.
    pageBytes: statfsSync('/proc').bsize,

    unmount(targetPath) {
      while (unmountTop(syscalls, targetPath)) {}
      // umount2 fails with EINVAL for a mount from outside our user namespace, as for a path without a mount.
      if (isMounted(targetPath)) throw failed(targetPath, 'it is mounted and locked')
      removeDirectory(targetPath)
    },

    list: listMounts,
    isMounted,
  }
}

/** Removes one mount. False: nothing is mounted there any more. */
function unmountTop(syscalls: MountCalls, targetPath: string): boolean {
  for (const flags of [UMOUNT_NOFOLLOW, UMOUNT_NOFOLLOW, UMOUNT_NOFOLLOW | MNT_DETACH]) {
    try {
      syscalls.unmount(targetPath, flags)
      return true
    } catch (error) {
      if (hasCode(error, 'EINVAL', 'ENOENT')) return false
      // A file is still open: try once more, then detach, which completes at the last close.
      if (!hasCode(error, 'EBUSY') || flags & MNT_DETACH) throw failed(targetPath, error)
    }
  }
  return false
}

function makeDirectory(path: string): void {
  ignoreCode(['EEXIST'], () => mkdirSync(path, { mode: 0o750 }))
}

/** Only when it is empty: files in it would not be ours. */
function removeDirectory(path: string): void {
  try {
    ignoreCode(['ENOENT'], () => rmdirSync(path))
  } catch (error) {
    throw failed(path, error)
  }
}

function listMounts(): Map<string, string> {
  return parseMountinfo(readFileSync('/proc/self/mountinfo', 'utf8'))
}

/**
 * Mount points and their file system types from the text of /proc/self/mountinfo (proc_pid_mountinfo(5)). Of several
 * mounts on one point it returns the last, the visible one.
 */
export function parseMountinfo(text: string): Map<string, string> {
  const mounts = new Map<string, string>()
  for (const line of text.split('\n')) {
    // A single hyphen ends the optional fields; the type follows it.
    const [before, after] = line.split(' - ', 2)
    const mountPoint = before?.split(' ')[4]
    const type = after?.split(' ')[0]
    if (mountPoint && type) mounts.set(unescapeOctal(mountPoint), type)
  }
  return mounts
}

/** The kernel writes space, tab, newline, backslash and # as \ooo. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_whole, digits) => String.fromCharCode(Number.parseInt(digits, 8)))
}

/** For kernels before Linux 5.8. With a thousand mounts mountinfo takes a millisecond; this takes 30 µs. */
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

/** Opens a path only as a reference (O_PATH). */
function withOpen<Result>(path: string, flags: number, use: (fd: number) => Result): Result {
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

function failed(what: string, cause: unknown): FaultError {
  const message = cause instanceof Error ? cause.message : String(cause)
  return new FaultError('mount_failed', { reason: `${what}: ${message}` }, cause)
}
