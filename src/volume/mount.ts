import { closeSync, constants, mkdirSync, openSync, readFileSync, rmdirSync, statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { FaultError } from '../core/errors.ts'
import type { Mounter } from '../core/mounted.ts'
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
/** Thrice the files that etcd's size limit lets an import list, and far from what would trouble a node. */
const INODES = 32768

export type MountCalls = Pick<Syscalls, 'mount' | 'unmount'>

/** @param syscalls for tests */
export function createMounter({ syscalls = createSyscalls() }: { syscalls?: MountCalls } = {}): Mounter {
  // Kernels before 6.4, and user namespaces, refuse noswap. Learnt at the first mount.
  let noswap: 'unknown' | 'accepted' | 'refused' = 'unknown'

  function mountTmpfs(targetPath: string, options: string): void {
    if (noswap === 'refused') {
      syscalls.mount(SOURCE, targetPath, 'tmpfs', FLAGS, options)
      return
    }
    try {
      syscalls.mount(SOURCE, targetPath, 'tmpfs', FLAGS, `${options},noswap`)
      noswap = 'accepted'
    } catch (error) {
      if (noswap === 'accepted' || !isCode(error, 'EINVAL')) throw error
      syscalls.mount(SOURCE, targetPath, 'tmpfs', FLAGS, options)
      noswap = 'refused'
    }
  }

  return {
    mount(targetPath, { sizeBytes, gid }) {
      const group = gid === undefined ? '' : `,gid=${gid}`
      try {
        makeDirectory(targetPath)
        mountTmpfs(targetPath, `size=${sizeBytes},nr_inodes=${INODES},mode=0755${group}`)
      } catch (error) {
        throw failed(`tmpfs (size=${sizeBytes}${group}) on ${targetPath}`, error)
      }
    },

    resize(targetPath, sizeBytes) {
      try {
        syscalls.mount(SOURCE, targetPath, 'tmpfs', FLAGS | MS_REMOUNT, `size=${sizeBytes}`)
      } catch (error) {
        throw failed(`tmpfs (size=${sizeBytes}) on ${targetPath} again`, error)
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

/** A thousand mounts make mountinfo a millisecond long; which mount a directory is on is told in 30 µs. */
function isMounted(targetPath: string): boolean {
  const id = mountIdOf(targetPath)
  return id !== undefined && id !== mountIdOf(dirname(targetPath))
}

/** Of the mount that a directory is on (proc_pid_fdinfo(5)); undefined when there is no such directory. */
function mountIdOf(path: string): string | undefined {
  const fd = openDirectory(path)
  if (fd === undefined) return undefined
  try {
    return /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1]
  } finally {
    closeSync(fd)
  }
}

function openDirectory(path: string): number | undefined {
  try {
    return openSync(path, constants.O_DIRECTORY | constants.O_NOFOLLOW)
  } catch (error) {
    const code = errorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') return undefined
    throw error
  }
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
