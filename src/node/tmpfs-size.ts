import { toFault } from '../core/faults/fault.ts'
import type { UpdateMode } from '../core/imports/import.ts'
import type { Log } from '../core/ports/log.ts'
import type { LedgerStore, Mounter, RenderedFile } from '../core/ports/volume.ts'
import type { Config } from '../core/settings/config.ts'
import type { Budget, Owner } from './budget.ts'
import type { Volume } from './volume.ts'

/** No tmpfs is smaller: four small files need a quarter of it, and may grow. */
const LEAST_BYTES = 128 * 1024
/** So many times what the files need now: most rotations need no other size. */
const HEADROOM = 2
/** A file's cost in the kernel besides its pages: about 700 bytes for the inode, and its name. */
const INODE_BYTES = 1024
/** A link whose target is so long takes a page of its own. */
const LONG_NAME_BYTES = 120
/** Complete file sets at the peak of an update. */
const COPIES = { Live: 2, Atomic: 2, InPlace: 1 } satisfies Record<UpdateMode, number>

/** The size of each volume's tmpfs, within the budgets of the node and of its namespace. */
export type TmpfsSize = {
  /** Of a volume whose files are not known yet, in bytes. */
  readonly leastBytes: number
  /** The least size, before Vault is asked for a volume that is not mounted yet. @throws FaultError budget_exceeded */
  claim(owner: Owner): void
  /** For these files, of a volume about to be mounted. @throws FaultError budget_exceeded */
  reserve(volume: Volume, files: readonly RenderedFile[]): void
  /**
   * For these files, which a mounted volume is about to hold.
   * @throws FaultError budget_exceeded, mount_failed; the volume is as large as before then
   */
  grow(volume: Volume, files: readonly RenderedFile[]): void
  /** A mounted volume holds these files now: returns the rest to the budget. Never throws. */
  shrink(volume: Volume, files: readonly RenderedFile[]): void
}

export function createTmpfsSize(deps: {
  settings: Pick<Config, 'maxVolumeBytes'>
  budget: Budget
  mounter: Pick<Mounter, 'resize' | 'pageBytes'>
  ledger: Pick<LedgerStore, 'put'>
  log: Log
}): TmpfsSize {
  const { budget, mounter, ledger, log } = deps
  const { maxVolumeBytes } = deps.settings
  const leastBytes = Math.min(LEAST_BYTES, maxVolumeBytes)

  function sizesFor({ entry: { updateMode } }: Volume, files: readonly RenderedFile[]) {
    return sizeFor(files, { updateMode, pageBytes: mounter.pageBytes, maxVolumeBytes })
  }

  /** The files go on without the ledger: a later process counts the former size. */
  function save({ entry }: Volume): void {
    try {
      ledger.put(entry)
    } catch (error) {
      const { volumeId, pod } = entry
      log.warn(
        { volumeId, pod, error: toFault(error) },
        'ledger entry not written: the size of a volume is not saved',
      )
    }
  }

  function resize(volume: Volume, sizeBytes: number): void {
    const { entry } = volume
    const before = entry.sizeBytes
    budget.reserve(entry, sizeBytes)
    try {
      mounter.resize(entry.targetPath, sizeBytes)
    } catch (error) {
      budget.count(entry, before)
      throw error
    }
    volume.resize(sizeBytes)
    save(volume)
  }

  return {
    leastBytes,
    claim(owner) {
      budget.reserve(owner, leastBytes)
    },
    reserve(volume, files) {
      const { wanted } = sizesFor(volume, files)
      budget.reserve(volume.entry, wanted)
      volume.resize(wanted)
    },
    grow(volume, files) {
      const { needed, wanted } = sizesFor(volume, files)
      if (needed > volume.entry.sizeBytes && wanted > volume.entry.sizeBytes) resize(volume, wanted)
    },
    shrink(volume, files) {
      const { wanted } = sizesFor(volume, files)
      // Not for a few pages at every change.
      if (wanted * 2 > volume.entry.sizeBytes) return
      try {
        resize(volume, wanted)
      } catch (error) {
        // Data that a container has written into its volume keeps it large.
        log.debug({ volumeId: volume.entry.volumeId, error: toFault(error) }, 'volume not shrunk')
      }
    },
  }
}

/**
 * How large the tmpfs of a volume must be for these files, and how large it is best made: bytes, multiples of the page.
 * Files that fit in no volume get the largest one: writing refuses them.
 */
export function sizeFor(
  files: readonly Pick<RenderedFile, 'name' | 'content'>[],
  of: { updateMode: UpdateMode; pageBytes: number; maxVolumeBytes: number },
): { needed: number; wanted: number } {
  const { updateMode, pageBytes, maxVolumeBytes } = of
  const copies = COPIES[updateMode]
  const pages = (bytes: number) => Math.ceil(bytes / pageBytes) * pageBytes
  const contents = files.reduce((sum, { content }) => sum + pages(content.byteLength), 0)
  const links = files.filter(({ name }) => Buffer.byteLength(name) >= LONG_NAME_BYTES).length * pageBytes
  const inodes = files.length * (copies + 1) * INODE_BYTES
  const needed = contents * copies + links
  const wanted = pages(Math.max(LEAST_BYTES, HEADROOM * (needed + inodes)))
  return { needed, wanted: Math.min(wanted, maxVolumeBytes) }
}
