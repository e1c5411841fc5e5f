import { toFault } from '../core/errors.ts'
import type { Clock, LedgerEntry, LedgerStore, Log, Mounter, VolumeFiles } from '../core/ports.ts'
import { shapeOf } from './deliver.ts'
import type { Volumes } from './volumes.ts'

/**
 * At start: holds the ledger against what is mounted. Mounted volumes with complete files are taken up again and
 * wait for kubelet's next token; what was killed half way is removed, so that the next publish delivers files and
 * not an empty directory; what is gone (a reboot) is forgotten. One bad volume never keeps the others back.
 */
export async function resumeVolumes(deps: {
  clock: Clock
  log: Log
  mounter: Mounter
  files: VolumeFiles
  ledger: LedgerStore
  volumes: Volumes
}): Promise<void> {
  const { clock, log, mounter, files, ledger, volumes } = deps
  const counts = { resumed: 0, removed: 0, forgotten: 0, failed: 0 }
  const mounted = mounter.list()
  for (const entry of ledger.load()) {
    try {
      counts[await resumeOne(entry)] += 1
    } catch (error) {
      counts.failed += 1
      const { volumeId, targetPath } = entry
      log.error({ volumeId, targetPath, error: toFault(error) }, 'a volume could not be resumed')
    }
  }
  log.info(counts, 'ledger held against what is mounted')

  async function resumeOne(entry: LedgerEntry): Promise<'resumed' | 'removed' | 'forgotten'> {
    const { targetPath } = entry
    // The list has paths as the kernel resolved them: kubelet's directory may be reached through a link.
    const isMounted = mounted.has(targetPath) || mounter.isMounted(targetPath)
    if (isMounted && entry.phase === 'complete' && (await files.repair(targetPath, shapeOf(entry)))) {
      volumes.set({
        entry,
        tokens: new Map(),
        standing: { state: 'resumed' },
        basis: undefined,
        identity: undefined,
        inStepAt: clock.now(),
        cancelTimer: undefined,
      })
      return 'resumed'
    }
    if (isMounted) files.wipe(targetPath)
    mounter.unmount(targetPath)
    ledger.remove(targetPath)
    return isMounted ? 'removed' : 'forgotten'
  }
}
