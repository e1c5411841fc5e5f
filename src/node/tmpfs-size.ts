import { toFault } from '../core/faults/fault.ts'
import type { Log } from '../core/ports/log.ts'
import type { LedgerEntry, LedgerStore, Mounter, RenderedFile } from '../core/ports/volume.ts'
import type { Config } from '../core/settings/config.ts'
import type { Budget, Owner } from './budget.ts'
import { LEAST_BYTES, sizeFor } from './volume-size.ts'

/** How large the tmpfs of each volume is, within the budgets of the node and of its namespace. */
export type Room = {
  /** Before anything is asked of Vault for a volume that is not mounted yet. @throws FaultError budget_exceeded */
  claim(owner: Owner): void
  /** For these files, of a volume about to be mounted. @throws FaultError budget_exceeded */
  make(entry: LedgerEntry, files: readonly RenderedFile[]): void
  /**
   * A mounted volume is about to hold these files instead.
   * @throws FaultError budget_exceeded, mount_failed; the volume is as large as before then
   */
  grow(entry: LedgerEntry, files: readonly RenderedFile[]): void
  /** A mounted volume holds these files now: what it needs no more is given back. Never throws. */
  shrink(entry: LedgerEntry, files: readonly RenderedFile[]): void
}

export function createRoom(deps: {
  settings: Pick<Config, 'maxVolumeBytes'>
  budget: Budget
  mounter: Pick<Mounter, 'resize' | 'pageBytes'>
  ledger: Pick<LedgerStore, 'put'>
  log: Log
}): Room {
  const { budget, mounter, ledger, log } = deps
  const { maxVolumeBytes } = deps.settings

  function sizesFor({ updateMode }: LedgerEntry, files: readonly RenderedFile[]) {
    return sizeFor(files, { updateMode, pageBytes: mounter.pageBytes, maxVolumeBytes })
  }

  /** A ledger that cannot be written is no reason to leave the files as they are: a later process counts it as it was. */
  function remember(entry: LedgerEntry): void {
    try {
      ledger.put(entry)
    } catch (error) {
      const { volumeId, pod } = entry
      log.warn({ volumeId, pod, error: toFault(error) }, "a volume's size could not be written down")
    }
  }

  function resize(entry: LedgerEntry, sizeBytes: number): void {
    const before = entry.sizeBytes
    budget.reserve(entry, sizeBytes)
    try {
      mounter.resize(entry.targetPath, sizeBytes)
    } catch (error) {
      budget.count(entry, before)
      throw error
    }
    entry.sizeBytes = sizeBytes
    remember(entry)
  }

  return {
    claim(owner) {
      budget.reserve(owner, Math.min(LEAST_BYTES, maxVolumeBytes))
    },
    make(entry, files) {
      const { wanted } = sizesFor(entry, files)
      budget.reserve(entry, wanted)
      entry.sizeBytes = wanted
    },
    grow(entry, files) {
      const { needed, wanted } = sizesFor(entry, files)
      if (needed > entry.sizeBytes && wanted > entry.sizeBytes) resize(entry, wanted)
    },
    shrink(entry, files) {
      const { wanted } = sizesFor(entry, files)
      // Not for a few pages at every change.
      if (wanted * 2 > entry.sizeBytes) return
      try {
        resize(entry, wanted)
      } catch (error) {
        // What a container has written into its volume keeps it large.
        log.debug({ volumeId: entry.volumeId, error: toFault(error) }, 'a volume stays as large as it is')
      }
    },
  }
}
