import { statfsSync } from 'node:fs'
import { createDisk } from './disk.ts'
import { createSyscalls } from './syscalls.ts'

/**
 * Kept in the kernel's memory by the inode, never swapped. `trusted.` hides it from all without CAP_SYS_ADMIN of the
 * initial user namespace: pods neither read nor list it, and we may not set it when we run in a user namespace.
 */
const NAME = 'trusted.vault-files-csi'
/** f_type of a tmpfs, from the kernel's magic.h. */
const TMPFS_MAGIC = 0x01021994

/** Bytes that a mounted volume carries with it and that go when it is unmounted. All throw Errors of the kernel. */
export type RootAttribute = {
  /** @throws Error also for a directory that is not in memory: on a disk the bytes would outlive the volume */
  set(targetPath: string, value: Uint8Array): void
  /** undefined: there is none. */
  get(targetPath: string): Buffer | undefined
  remove(targetPath: string): void
}

/** An extended attribute of the root directory of the volume's tmpfs. */
export function createRootAttribute(): RootAttribute {
  const disk = createDisk()
  const { setAttribute, getAttribute, removeAttribute } = createSyscalls()

  /** By descriptor, and never through a link. */
  function withRoot<Answer>(targetPath: string, use: (fd: number) => Answer): Answer {
    const fd = disk.openVolume(targetPath)
    try {
      return use(fd)
    } finally {
      disk.close(fd)
    }
  }

  return {
    set: (targetPath, value) =>
      withRoot(targetPath, (fd) => {
        if (statfsSync(`/proc/self/fd/${fd}`).type !== TMPFS_MAGIC) throw new Error('not a tmpfs')
        setAttribute(fd, NAME, value)
      }),
    get: (targetPath) => withRoot(targetPath, (fd) => getAttribute(fd, NAME)),
    remove: (targetPath) => withRoot(targetPath, (fd) => removeAttribute(fd, NAME)),
  }
}
