import { toFault } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import type { PublishRequest } from '../core/ports/node.ts'
import type { LedgerEntry, LedgerStore, Mounter, VolumeFiles, VolumeStats } from '../core/ports/volume.ts'
import type { Config } from '../core/settings/config.ts'
import type { Budget } from './budget.ts'
import type { Cleanup } from './unpublish.ts'
import { ledgerEntry, Volume } from './volume.ts'

/**
 * The state directory was lost while pods went on: adopts a mount with complete files as it is, and removes any other.
 * @returns undefined when nothing is mounted there
 */
export type Adopt = (request: PublishRequest) => Promise<Volume | undefined>

export function createAdopt(deps: {
  settings: Pick<Config, 'maxVolumeBytes'>
  clock: Pick<Clock, 'monotonic'>
  log: Log
  mounter: Pick<Mounter, 'isMounted' | 'unmount'>
  files: Pick<VolumeFiles, 'found' | 'repair'>
  ledger: Pick<LedgerStore, 'put'>
  statsOf: (targetPath: string) => VolumeStats
  budget: Pick<Budget, 'count'>
  /** Target paths where a first publish failed and its mount could not be removed. */
  incomplete: ReadonlySet<string>
  cleanup: Pick<Cleanup, 'wipe' | 'forget'>
}): Adopt {
  const { settings, clock, log, mounter, files, ledger, statsOf, budget, incomplete, cleanup } = deps

  async function findEntry(request: PublishRequest): Promise<LedgerEntry | undefined> {
    const { targetPath } = request
    // The mode of the files: the import's may have been edited since.
    const updateMode = incomplete.has(targetPath) ? undefined : files.found(targetPath)
    if (updateMode === undefined) return undefined
    const entry = ledgerEntry(request, { updateMode, sizeBytes: sizeOf(targetPath), phase: 'complete' })
    return (await hasCompleteFiles(deps, entry)) ? entry : undefined
  }

  function sizeOf(targetPath: string): number {
    try {
      return statsOf(targetPath).bytes.total
    } catch {
      return settings.maxVolumeBytes
    }
  }

  /** A pod is running on it: it must not fail for want of a ledger. */
  function save(entry: LedgerEntry): void {
    try {
      ledger.put(entry)
    } catch (error) {
      const { volumeId, pod } = entry
      log.error({ volumeId, pod, error: toFault(error) }, 'ledger entry of an adopted volume not written')
    }
  }

  return async (request) => {
    const { targetPath, volumeId, pod, tokens } = request
    if (!mounter.isMounted(targetPath)) return undefined
    const entry = await findEntry(request)
    if (entry === undefined) {
      cleanup.wipe(targetPath)
      mounter.unmount(targetPath)
      cleanup.forget(targetPath)
      return undefined
    }
    log.warn({ volumeId, pod, targetPath }, 'adopted a mounted volume that is not in the ledger')
    // Beyond the limits too: it takes this memory already.
    budget.count(entry, entry.sizeBytes)
    save(entry)
    return Volume.adopted(entry, clock.monotonic(), tokens)
  }
}

/**
 * Whether a mount that was found has a complete set of files. A pod may be running on them: files that cannot be
 * repaired now are kept, the next refresh writes them again.
 */
export async function hasCompleteFiles(
  { files, log }: { files: Pick<VolumeFiles, 'repair'>; log: Log },
  { targetPath, volumeId, pod, updateMode, fsGroup: gid, sizeBytes }: LedgerEntry,
): Promise<boolean> {
  try {
    return await files.repair(targetPath, { updateMode, gid, sizeBytes })
  } catch (error) {
    log.error({ volumeId, pod, targetPath, error: toFault(error) }, 'files not repaired, they stay')
    return true
  }
}
