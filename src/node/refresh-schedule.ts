import type { Clock } from '../core/ports/clock.ts'
import { firstDelayMs } from '../core/schedule.ts'
import type { KeyedQueue } from './keyed-queue.ts'
import { SHORTEST_PAUSE_MS } from './leases/lease-times.ts'
import type { Leases } from './leases/leases.ts'
import type { ReadCache } from './read-cache.ts'
import { REFRESH_TIMEOUT_MS, type Refresh, type RefreshCause } from './refresh.ts'
import type { Volume } from './volume.ts'
import type { Volumes } from './volumes.ts'

/** Volumes woken by one cause refresh so many at a time: those that start together share one read of Vault. */
const WAKE_AT_ONCE = 100
const WAKE_STEP_MS = 100

/** Refreshes every mounted volume, each on its own timer. */
export type RefreshSchedule = {
  /** First refresh of a volume just published: within one interval from now, spread. */
  begin(volume: Volume, intervalMs: number): void
  /** A volume that waits for kubelet's next token cannot refresh yet, but its leases must not end meanwhile. */
  renewLeases(volume: Volume): void
  /** Refreshes soon: the import changed, a token came, a secret changed. */
  wake(volumes: Iterable<Volume>): void
  /** The volume is about to go. */
  end(volume: Volume): void
  stop(): void
}

export function createRefreshSchedule(deps: {
  clock: Clock
  random: () => number
  queue: KeyedQueue
  refresh: Refresh
  readCache: Pick<ReadCache, 'onChange'>
  volumes: Volumes
  leases: Pick<Leases, 'untilDueMs'>
}): RefreshSchedule {
  const { clock, random, queue, refresh, readCache, volumes, leases } = deps
  const stopping = new AbortController()

  readCache.onChange((identityKey) => {
    wakeAll(volumes.ofIdentity(identityKey), { isWoken: true })
  })

  /** However often a refresh is asked for, a pause stands between two of a volume. */
  function schedule(volume: Volume, delayMs: number, cause: RefreshCause = {}): void {
    volume.timer.cancel()
    if (stopping.signal.aborted) return
    const dueMs = Math.max(0, delayMs, volume.timer.earliestAt - clock.monotonic())
    volume.timer.set(
      (task) => clock.after(dueMs, task),
      // One refresh at a time for each volume; a key of its own, so that unpublish need not wait for it.
      () => void queue.run(`refresh ${volume.entry.targetPath}`, () => refreshAndGoOn(volume, cause)),
    )
  }

  async function refreshAndGoOn(volume: Volume, cause: RefreshCause): Promise<void> {
    const nextMs = await refresh(volume, cause, stopping.signal)
    // A wake-up meanwhile has set a timer.
    if (nextMs !== undefined && !volume.isGone && !volume.timer.isSet) schedule(volume, nextMs)
  }

  function wakeAll(some: Iterable<Volume>, cause: RefreshCause = {}): void {
    let before = 0
    for (const volume of some) {
      schedule(volume, Math.floor(before / WAKE_AT_ONCE) * WAKE_STEP_MS, cause)
      before += 1
    }
  }

  return {
    begin(volume, intervalMs) {
      // Volumes published together would refresh together for ever: the first refresh comes early by chance.
      const firstMs = firstDelayMs({ intervalMs, random: random() })
      // A lease that ends at once is not issued again at once.
      const delayMs = Math.min(firstMs, Math.max(SHORTEST_PAUSE_MS, leases.untilDueMs(volume)))
      schedule(volume, delayMs, { sinceMs: delayMs })
    },
    renewLeases(volume) {
      if (volume.leases.all.length === 0) return
      const dueMs = Math.max(SHORTEST_PAUSE_MS, leases.untilDueMs(volume))
      schedule(volume, Math.min(dueMs, REFRESH_TIMEOUT_MS))
    },
    wake: (some) => wakeAll(some),
    end: (volume) => volume.timer.cancel(),
    stop() {
      stopping.abort()
      for (const volume of volumes.all()) volume.timer.cancel()
    },
  }
}
