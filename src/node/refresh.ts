import { FaultError, toFault } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Notifier } from '../core/ports/kubernetes.ts'
import type { Log } from '../core/ports/log.ts'
import type { Meter } from '../core/ports/metrics.ts'
import { backoffMs, nextDelayMs } from '../core/schedule.ts'
import { type Fetching, isSameInput } from './fetch.ts'
import type { IdentityUsers } from './identity-users.ts'
import type { ImportUsers } from './import-users.ts'
import type { KeyedQueue } from './keyed-queue.ts'
import { SHORTEST_PAUSE_MS } from './leases/lease-times.ts'
import type { Leases } from './leases/leases.ts'
import type { ScheduledRevocations } from './leases/scheduled-revocations.ts'
import { factsOf, type Plan, type Planning } from './plan.ts'
import type { ReadCache } from './read-cache.ts'
import type { Reconcile, WriteTarget } from './reconcile.ts'
import type { TmpfsSize } from './tmpfs-size.ts'
import type { Volume } from './volume.ts'
import type { VolumeSecrets } from './volume-secrets.ts'
import type { Volumes } from './volumes.ts'

/** A refresh that takes longer is given up: well under the shortest usual interval. */
export const REFRESH_TIMEOUT_MS = 60_000
/** A cached read older than this part of the interval is repeated; under 0.9, the shortest jittered interval. */
const SHARED_READ = 0.85
/** A change that another volume has read is written once in this part of the interval, the shortest that jitter leaves. */
const REWRITE_PAUSE = 0.9

export type RefreshCause = {
  /** How long ago this volume's own refresh was due: a cached read from most of this time will do. The interval unless said. */
  sinceMs?: number
  /** Another volume has read a change. */
  isWoken?: boolean
}

/**
 * One refresh of a mounted volume, with cached reads if there are any. After a failure the old files stay, the app team
 * gets one event, and the next refresh waits as the fault asks.
 * @returns milliseconds until the next one; undefined: none before the volume is woken
 */
export type Refresh = (
  volume: Volume,
  cause: RefreshCause,
  stopping: AbortSignal,
) => Promise<number | undefined>

export function createRefresh(deps: {
  clock: Clock
  random: () => number
  log: Log
  meter: Meter
  notifier: Notifier
  queue: KeyedQueue
  planning: Pick<Planning, 'plan'>
  fetching: Pick<Fetching, 'inputOf'>
  reconcile: Reconcile
  readCache: Pick<ReadCache, 'recent' | 'untilRetryMs'>
  volumes: Volumes
  volumeSecrets: Pick<VolumeSecrets, 'syncAgain'>
  tmpfsSize: Pick<TmpfsSize, 'grow'>
  leases: Pick<Leases, 'renew' | 'untilDueMs' | 'untilRetryMs'>
  scheduledRevocations: Pick<ScheduledRevocations, 'revokeDue'>
  identityUsers: Pick<IdentityUsers, 'hold'>
  importUsers: Pick<ImportUsers, 'remove'>
  defaultIntervalMs: number
}): Refresh {
  const { clock, random, log, meter, notifier, queue, planning, fetching, reconcile, readCache } = deps
  const { volumes, volumeSecrets, tmpfsSize, leases, scheduledRevocations } = deps
  const { identityUsers, importUsers, defaultIntervalMs } = deps

  return async (volume, cause, stopping) => {
    const { entry } = volume
    const isOver = () => stopping.aborted || volume.isGone
    if (isOver()) return undefined
    volume.timer.beginRefresh(clock.monotonic())
    if (volume.tokens.state === 'awaited') return renewWithoutToken(volume, isOver, stopping)
    let plan: Plan | undefined
    let mostMs = Number.POSITIVE_INFINITY
    const late = new AbortController()
    const cancelLimit = clock.after(REFRESH_TIMEOUT_MS, () => late.abort(tooSlow(plan)))
    try {
      const signal = AbortSignal.any([stopping, late.signal])
      plan = await planning.plan(entry, signal)
      const { intervalMs } = plan
      volume.timer.setMinPause(Math.min(SHORTEST_PAUSE_MS, intervalMs / 2))
      const { changed, at, failure } = await refreshFiles(volume, plan, cause, signal)
      if (isOver()) return undefined
      if (failure !== undefined) {
        // The files are refreshed as often as ever.
        mostMs = nextDelayMs({ intervalMs, random: random() })
        reportChange(volume, changed)
        throw failure
      }
      reportSuccess(volume, changed, at)
      const delayMs = nextDelayMs({ intervalMs, random: random() }) - (clock.monotonic() - at)
      return Math.min(delayMs, leases.untilDueMs(volume))
    } catch (error) {
      const fault = toFault(error)
      if (plan === undefined && !isWithdrawn(volume, fault)) await renewLeases(volume, stopping)
      if (isOver()) return undefined
      const failures = reportFailure(volume, fault)
      return Math.min(delayAfter(fault, failures, plan), leases.untilRetryMs(volume), mostMs)
    } finally {
      cancelLimit()
      // Asked for by a refresh that outlived its volume.
      if (volumes.get(entry.targetPath) === undefined) importUsers.remove(entry)
    }
  }

  /** @returns changed files, and a failure that left the files in sync: of a renewal, or of Kubernetes Secrets */
  async function refreshFiles(
    volume: Volume,
    plan: Plan,
    { sinceMs = plan.intervalMs, isWoken = false }: RefreshCause,
    signal: AbortSignal,
  ): Promise<{ changed: string[]; at: number; failure: FaultError | undefined }> {
    // First of all: failing reads must not let leases end.
    const { missing, failure } = await leases.renew(volume, plan, signal)
    await scheduledRevocations.revokeDue(volume)
    const cachedAt = missing.length === 0 ? inSyncByCache(volume, plan, sinceMs) : undefined
    if (cachedAt !== undefined) {
      const syncFailure = await volumeSecrets
        .syncAgain(volume, cachedAt, signal)
        .then(() => undefined, toFault)
      return { changed: [], at: cachedAt, failure: failure ?? syncFailure }
    }
    const { changed, at, syncFailure } = await identityUsers.hold(volume, plan.identity, () =>
      reconcile(volume, plan, ownMount(volume), { missing, isWoken }, signal),
    )
    if (changed.length > 0) volume.noteChange(at)
    return { changed, at, failure: failure ?? syncFailure }
  }

  function ownMount(volume: Volume): WriteTarget {
    return {
      serialize: (write) => queue.run(volume.entry.targetPath, write),
      prepare: (files) => tmpfsSize.grow(volume, files),
    }
  }

  /** @returns when the cached reads that the files match were made; undefined: Vault must be asked */
  function inSyncByCache(volume: Volume, plan: Plan, sinceMs: number): number | undefined {
    const recent = readCache.recent(plan.identity, plan.paths, sinceMs * SHARED_READ)
    if (recent === undefined) return undefined
    const input = fetching.inputOf(plan, recent.digests, volume.leases.activeExcept())
    const { lastRender } = volume
    if (lastRender === undefined || !isSameInput(lastRender, input)) {
      return isRewrittenLately(volume, plan) ? volume.lastSyncedAt : undefined
    }
    if (lastRender.fault !== undefined) throw lastRender.fault
    return recent.at
  }

  /**
   * A path may give each reader another answer: whatever others have read since, these files were written from it a
   * moment ago, and the volume's own scheduled refresh comes within the interval.
   */
  function isRewrittenLately({ lastRender, lastChangedAt }: Volume, { spec, intervalMs }: Plan): boolean {
    if (lastRender?.spec !== spec || lastChangedAt === undefined) return false
    return clock.monotonic() - lastChangedAt < intervalMs * REWRITE_PAUSE
  }

  /** Without a service-account token Vault's values cannot be read; renewing leases needs none. */
  async function renewWithoutToken(
    volume: Volume,
    isOver: () => boolean,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    await renewLeases(volume, signal)
    if (isOver() || volume.leases.all.length === 0) return undefined
    return Math.min(Math.max(SHORTEST_PAUSE_MS, leases.untilRetryMs(volume)), REFRESH_TIMEOUT_MS)
  }

  /** All that the volume has, whatever the import says. Never throws. */
  async function renewLeases(volume: Volume, signal: AbortSignal): Promise<void> {
    const active = volume.leases.activeExcept()
    const [first] = active
    if (first === undefined) return
    const issueRequests = active.map(({ request }) => request)
    const wanted = { issueRequests, perVolumeIdentity: first.identity }
    const { failure } = await leases.renew(volume, wanted, signal)
    await scheduledRevocations.revokeDue(volume)
    if (failure === undefined) return
    const { volumeId, pod, importName } = volume.entry
    log.warn({ volumeId, pod, importName, error: failure }, 'leases not renewed')
  }

  function reportSuccess(volume: Volume, changed: readonly string[], at: number): void {
    const { pod, importName, volumeId } = volume.entry
    const before = volume.state
    volume.markInSync(at)
    meter.refreshed(changed.length > 0 ? 'changed' : 'unchanged', '')
    if (before.state === 'stale') {
      const staleSeconds = Math.round((clock.monotonic() - before.since) / 1000)
      log.info({ volumeId, pod, importName, staleSeconds }, 'volume is in sync again')
      notifier.recovered(pod, importName)
    }
    reportChange(volume, changed)
  }

  function reportChange(volume: Volume, changed: readonly string[]): void {
    if (changed.length === 0) return
    const { pod, importName, volumeId } = volume.entry
    log.info({ volumeId, pod, importName, files: changed }, 'files changed')
    notifier.rotated(pod, importName, changed)
  }

  /** Reported once per fault, not at every try. */
  function reportFailure(volume: Volume, error: FaultError): number {
    const { pod, importName, volumeId } = volume.entry
    const before = volume.state
    const isNews = before.state !== 'stale' || before.error.fault !== error.fault
    const failures = volume.markStale(error, clock.monotonic())
    meter.refreshed('failed', error.fault)
    if (isNews) {
      log.warn({ volumeId, pod, importName, error }, 'refresh failed, the files stay as they are')
      notifier.failed(pod, importName, error)
    }
    return failures
  }

  function delayAfter(error: FaultError, failures: number, plan: Plan | undefined): number {
    const intervalMs = plan?.intervalMs ?? defaultIntervalMs
    // The failed read is shared: the first volume due after its backoff reads for all.
    const retryMs = plan && readCache.untilRetryMs(plan.identity, plan.paths)
    if (retryMs !== undefined) return retryMs + random() * 100
    const { retryAfterMs } = error.facts
    return backoffMs({ retry: error.retry, failures, intervalMs, retryAfterMs, random: random() })
  }
}

/**
 * A pod keeps what this process gave it, whatever becomes of its import; leases of an earlier process end if the cluster
 * admin has forbidden them since.
 */
function isWithdrawn({ identity }: Volume, { fault }: FaultError): boolean {
  return fault === 'policy_refused' && identity === undefined
}

/** One call to Vault ends long before: most of the time went by in the queue of calls, or for many calls. */
function tooSlow(plan: Plan | undefined): FaultError {
  const reason = `no answer within ${REFRESH_TIMEOUT_MS / 1000} s`
  if (plan === undefined) return new FaultError('reference_unavailable', { reason })
  return new FaultError('unreachable', {
    ...factsOf(plan.identity),
    reason: `${reason}, waiting for other calls included`,
  })
}
