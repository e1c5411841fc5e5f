import { statfsSync } from 'node:fs'
import { ignoreErrors } from '../core/errno.ts'
import type { Lease, LeaseStore } from '../core/ports/leases.ts'
import { createDisk } from './disk.ts'
import { newSealKey, seal, unseal } from './seal.ts'
import { parseLeases, serializeLeases } from './serialize-leases.ts'
import { ATTRIBUTE_MAX, createSyscalls } from './syscalls.ts'

/**
 * The kernel keeps the attribute in memory with the inode and never swaps it. `trusted.` hides it from processes without
 * CAP_SYS_ADMIN in the initial user namespace: pods neither read nor list it, and we cannot set it when we run in a user
 * namespace.
 */
const NAME = 'trusted.vault-files-csi'
/** f_type of a tmpfs, from the kernel's magic.h. */
const TMPFS_MAGIC = 0x01021994
/** Part of the seal's label: another version of ours cannot open the text, and issues new leases. */
const FORMAT = 'vault-files-csi leases 1'

/** Bytes attached to a mounted volume, which disappear when it is unmounted. All methods throw system errors. */
export type RootAttribute = {
  /** @throws Error also for a directory that is not on a tmpfs: on a disk the bytes would outlive the volume */
  set(targetPath: string, value: Uint8Array): void
  /** undefined: there is none. */
  get(targetPath: string): Buffer | undefined
  remove(targetPath: string): void
}

/**
 * The leases of a volume, sealed, in an attribute of the volume's own tmpfs: they live exactly as long as the mount,
 * whatever happens to our process. The attribute is useless without the ledger's key, and the key without the attribute.
 * @param deps for tests
 */
export function createLeaseStore({
  attribute = createRootAttribute(),
}: {
  attribute?: RootAttribute
} = {}): LeaseStore {
  return {
    newKey: newSealKey,

    put(targetPath, key, leases) {
      const isKept =
        ignoreErrors(() => {
          attribute.set(targetPath, sealLeases(targetPath, key, leases))
          return true
        }) ?? false
      // The leases stored before are outdated.
      if (!isKept) ignoreErrors(() => attribute.remove(targetPath))
      return isKept
    },

    // No error is passed on: a parser's message may quote secrets. The caller issues new leases.
    get: (targetPath, key) =>
      ignoreErrors(() => {
        const sealed = attribute.get(targetPath)
        return sealed && parseLeases(unseal(sealed, key, labelOf(targetPath)).toString())
      }),
  }
}

/** An extended attribute of the root directory of the volume's tmpfs. */
export function createRootAttribute(): RootAttribute {
  const disk = createDisk()
  const { setAttribute, getAttribute, removeAttribute } = createSyscalls()

  /** By descriptor, never through a link. */
  function withRoot<Result>(targetPath: string, use: (fd: number) => Result): Result {
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

/** @throws Error when it is larger than an attribute may be */
function sealLeases(targetPath: string, key: string, leases: readonly Lease[]): Buffer {
  const sealed = seal(Buffer.from(serializeLeases(leases)), key, labelOf(targetPath))
  if (sealed.byteLength > ATTRIBUTE_MAX) throw new RangeError('larger than an attribute may be')
  return sealed
}

function labelOf(targetPath: string): string {
  return `${FORMAT}\n${targetPath}`
}
