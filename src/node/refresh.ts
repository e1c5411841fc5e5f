import { FaultError, toFault } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Notifier } from '../core/ports/kubernetes.ts'
import type { Log } from '../core/ports/log.ts'
import type { Meter } from '../core/ports/metrics.ts'
import { backoffMs, firstDelayMs, nextDelayMs } from '../core/schedule.ts'
import type { Delivery, Why } from './deliver.ts'
import type { ImportUsers } from './import-users.ts'
import type { Queue } from './keyed-queue.ts'
import { SHORTEST_PAUSE_MS } from './leases/lease-times.ts'
import type { Leases } from './leases/leases.ts'
import { factsOf, type Plan } from './plan.ts'
import type { Lookups } from './read-cache.ts'
import { type MountedVolume, NO_TOKENS_YET, type Volumes } from './volumes.ts'

/** A look that takes longer is given up: well under the shortest usual interval. */
const LOOK_TIMEOUT_MS = 60_000
/** Volumes woken by one cause look so many at a time: those that start together share one read of Vault. */
const WAKE_AT_ONCE = 100
const WAKE_STEP_MS = 100

/**
 * Looks again at every mounted volume, each on its own timer. After a failure the old files stay,
 * the pod's owner is told once, and the next look waits as the fault asks.
 */
export type Rotation = {
  /** First look of a volume just published: within one interval from now, spread. */
  begin(volume: MountedVolume, intervalMs: number): void
  /** A volume that waits for kubelet's next token cannot look yet, but what is issued to it must not end meanwhile. */
  keepAlive(volume: MountedVolume): void
  /** Looks soon: the import changed, a token came, a secret moved. */
  wake(volumes: Iterable<MountedVolume>): void
  /** Ends the timer of a volume that goes. */
  end(volume: MountedVolume): void
  stop(): void
}

export function createRotation(deps: {
  clock: Clock
  random: () => number
  log: Log
  meter: Meter
  notifier: Notifier
  queue: Queue
  delivery: Delivery
  lookups: Lookups
  volumes: Volumes
  leases: Pick<Leases, 'untilDueMs' | 'untilRetryMs'>
  importUsers: Pick<ImportUsers, 'remove'>
  defaultIntervalMs: number
}): Rotation {
  const { clock, random, log, meter, notifier, queue, delivery, lookups, volumes, leases } = deps
  const { importUsers, defaultIntervalMs } = deps
  const stopping = new AbortController()

  lookups.onMoved((identityKey) => {
    wakeAll(volumes.ofIdentity(identityKey), { isWoken: true })
  })

  /** Whoever asks for it, and however often: a pause stands between two looks of a volume. */
  function schedule(volume: MountedVolume, delayMs: number, why: Partial<Why> = {}): void {
    volume.cancelTimer?.()
    if (stopping.signal.aborted) return
    const { refreshedAt = Number.NEGATIVE_INFINITY } = volume
    const pauseMs = refreshedAt + volume.pauseMs - clock.monotonic()
    volume.cancelTimer = clock.after(Math.max(0, delayMs, pauseMs), () => {
      volume.cancelTimer = undefined
      // One look at a time for each volume; a key of its own, so that unpublish need not wait for it.
      void queue.run(`look ${volume.entry.targetPath}`, () => look(volume, why))
    })
  }

  function wakeAll(some: Iterable<MountedVolume>, why: Partial<Why> = {}): void {
    let before = 0
    for (const volume of some) {
      schedule(volume, Math.floor(before / WAKE_AT_ONCE) * WAKE_STEP_MS, why)
      before += 1
    }
  }

  /** @param why see Delivery.refresh; the import's interval unless said */
  async function look(volume: MountedVolume, why: Partial<Why>): Promise<void> {
    const { entry } = volume
    if (isGone(volume)) return
    volume.refreshedAt = clock.monotonic()
    // Whoever wakes the volume from now on, for an edit that this look may have missed, sets another.
    volume.cancelTimer?.()
    volume.cancelTimer = undefined
    if (waitsForToken(volume)) return waitOn(volume)
    let plan: Plan | undefined
    let mostMs = Number.POSITIVE_INFINITY
    const late = new AbortController()
    const cancelLimit = clock.after(LOOK_TIMEOUT_MS, () => late.abort(tooSlow(plan)))
    try {
      const signal = AbortSignal.any([stopping.signal, late.signal])
      plan = await delivery.plan(entry, signal)
      volume.pauseMs = Math.min(SHORTEST_PAUSE_MS, plan.intervalMs / 2)
      const all = { sinceMs: plan.intervalMs, isWoken: false, ...why }
      const { changed, at, failure } = await delivery.refresh(volume, plan, all, signal)
      if (isGone(volume)) return
      if (failure !== undefined) {
        // What the files are made from is looked at as often as ever.
        mostMs = nextDelayMs({ intervalMs: plan.intervalMs, random: random() })
        tellChanged(volume, changed)
        throw failure
      }
      succeeded(volume, changed, at)
      const delayMs =
        nextDelayMs({ intervalMs: plan.intervalMs, random: random() }) - (clock.monotonic() - at)
      goOn(volume, Math.min(delayMs, leases.untilDueMs(volume)))
    } catch (error) {
      const fault = toFault(error)
      if (plan === undefined && !isWithdrawn(volume, fault)) await keepIssued(volume)
      if (isGone(volume)) return
      const failures = failed(volume, fault)
      goOn(volume, Math.min(delayAfter(fault, failures, plan), leases.untilRetryMs(volume), mostMs))
    } finally {
      cancelLimit()
      // Asked for by a look that outlived its volume.
      if (volumes.get(entry.targetPath) === undefined) importUsers.remove(entry)
    }
  }

  /** After a look, unless somebody has woken the volume meanwhile. */
  function goOn(volume: MountedVolume, delayMs: number): void {
    if (volume.cancelTimer === undefined) schedule(volume, delayMs)
  }

  /** Without a service-account token there is no look; a Vault token of the volume's own needs none. */
  async function waitOn(volume: MountedVolume): Promise<void> {
    await keepIssued(volume)
    if (isGone(volume) || volume.holdings.length === 0) return
    const delayMs = Math.max(SHORTEST_PAUSE_MS, leases.untilRetryMs(volume))
    goOn(volume, Math.min(delayMs, LOOK_TIMEOUT_MS))
  }

  async function keepIssued(volume: MountedVolume): Promise<void> {
    try {
      await delivery.keepIssued(volume, stopping.signal)
    } catch (error) {
      const { volumeId, pod, importName } = volume.entry
      log.warn({ volumeId, pod, importName, error: toFault(error) }, 'what is issued could not be renewed')
    }
  }

  function keepAlive(volume: MountedVolume): void {
    const delayMs = Math.min(Math.max(SHORTEST_PAUSE_MS, leases.untilDueMs(volume)), LOOK_TIMEOUT_MS)
    if (volume.holdings.length > 0) schedule(volume, delayMs)
  }

  /** Unpublished in the meantime, or we are stopping: nothing more to do or to tell. */
  function isGone(volume: MountedVolume): boolean {
    return stopping.signal.aborted || volumes.get(volume.entry.targetPath) !== volume
  }

  function succeeded(volume: MountedVolume, changed: readonly string[], at: number): void {
    const { pod, importName, volumeId } = volume.entry
    const before = volume.sync
    volume.sync = { state: 'fresh' }
    volume.lastSyncedAt = at
    meter.refreshed(changed.length > 0 ? 'changed' : 'unchanged', '')
    if (before.state === 'stale') {
      const staleSeconds = Math.round((clock.monotonic() - before.since) / 1000)
      log.info({ volumeId, pod, importName, staleSeconds }, 'volume is in step again')
      notifier.recovered(pod, importName)
    }
    tellChanged(volume, changed)
  }

  function tellChanged(volume: MountedVolume, changed: readonly string[]): void {
    if (changed.length === 0) return
    const { pod, importName, volumeId } = volume.entry
    log.info({ volumeId, pod, importName, files: changed }, 'files changed')
    notifier.rotated(pod, importName, changed)
  }

  /** Old files stay. Told once per fault, not at every try. */
  function failed(volume: MountedVolume, error: FaultError): number {
    const { pod, importName, volumeId } = volume.entry
    const before = volume.sync
    const isNews = before.state !== 'stale' || before.error.fault !== error.fault
    const since = before.state === 'stale' ? before.since : clock.monotonic()
    const failures = before.state === 'stale' ? before.failures + 1 : 1
    volume.sync = { state: 'stale', since, failures, error }
    meter.refreshed('failed', error.fault)
    if (isNews) {
      log.warn({ volumeId, pod, importName, error }, 'look failed, the files stay as they are')
      notifier.failed(pod, importName, error)
    }
    return failures
  }

  function delayAfter(error: FaultError, failures: number, plan: Plan | undefined): number {
    const intervalMs = plan?.intervalMs ?? defaultIntervalMs
    // The look that failed is shared: the first volume due after its backoff asks for all.
    const retryMs = plan && lookups.untilRetryMs(plan.identity, plan.paths)
    if (retryMs !== undefined) return retryMs + random() * 100
    const { retryAfterMs } = error.facts
    return backoffMs({ retry: error.retry, failures, intervalMs, retryAfterMs, random: random() })
  }

  return {
    begin(volume, intervalMs) {
      // Volumes published together would look together for ever: the first look comes early by chance.
      const firstMs = firstDelayMs({ intervalMs, random: random() })
      // What ends at once is not issued again at once.
      const delayMs = Math.min(firstMs, Math.max(SHORTEST_PAUSE_MS, leases.untilDueMs(volume)))
      schedule(volume, delayMs, { sinceMs: delayMs })
    },
    keepAlive,
    wake: (some) => wakeAll(some),
    end(volume) {
      volume.cancelTimer?.()
      volume.cancelTimer = undefined
    },
    stop() {
      stopping.abort()
      for (const volume of volumes.all()) volume.cancelTimer?.()
    },
  }
}

/** Found at start, and kubelet has not published it again yet. */
function waitsForToken({ tokens }: MountedVolume): boolean {
  return tokens === NO_TOKENS_YET
}

/**
 * Whatever became of its import, a pod works with what it was given; but what an earlier process gave, and the operator
 * has not allowed since, ends by itself.
 */
function isWithdrawn({ identity }: MountedVolume, { fault }: FaultError): boolean {
  return fault === 'policy_refused' && identity === undefined
}

/** One call to Vault ends long before: most of the time went by in the queue of calls, or for many calls. */
function tooSlow(plan: Plan | undefined): FaultError {
  const reason = `no answer within ${LOOK_TIMEOUT_MS / 1000} s`
  if (plan === undefined) return new FaultError('reference_unavailable', { reason })
  return new FaultError('unreachable', {
    ...factsOf(plan.identity),
    reason: `${reason}, waiting for other calls included`,
  })
}
