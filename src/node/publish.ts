import { waitFor } from '../core/collapse.ts'
import { FaultError, toFault } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import type { PublishRequest } from '../core/ports/node.ts'
import type { LedgerEntry, LedgerStore, Mounter } from '../core/ports/volume.ts'
import type { Adopt } from './adopt-unrecorded.ts'
import type { Budget } from './budget.ts'
import type { IdentityUsers } from './identity-users.ts'
import type { ImportUsers } from './import-users.ts'
import type { ScheduledRevocations } from './leases/scheduled-revocations.ts'
import type { Plan, Planning } from './plan.ts'
import type { Reconcile, WriteTarget } from './reconcile.ts'
import type { RefreshSchedule } from './refresh-schedule.ts'
import type { TmpfsSize } from './tmpfs-size.ts'
import type { Cleanup } from './unpublish.ts'
import { ledgerEntry, Volume } from './volume.ts'
import type { Volumes } from './volumes.ts'

export type Publish = (request: PublishRequest, signal: AbortSignal) => Promise<void>

/**
 * NodePublishVolume. The first time: reconcile into a new mount, and leave nothing behind on failure.
 * Again, as kubelet does for a live pod every minute: take the new token and answer OK without touching anything.
 * Calls for one target path must come one after the other: see calls.ts.
 */
export function createPublish(deps: {
  clock: Pick<Clock, 'monotonic'>
  log: Log
  mounter: Mounter
  ledger: Pick<LedgerStore, 'put'>
  planning: Pick<Planning, 'plan'>
  reconcile: Reconcile
  refreshSchedule: Pick<RefreshSchedule, 'begin' | 'wake' | 'end'>
  adopt: Adopt
  volumes: Volumes
  scheduledRevocations: Pick<ScheduledRevocations, 'revokeAll' | 'revokeUnused'>
  budget: Pick<Budget, 'release'>
  tmpfsSize: Pick<TmpfsSize, 'claim' | 'reserve' | 'leastBytes'>
  identityUsers: Pick<IdentityUsers, 'hold'>
  importUsers: ImportUsers
  /** Target paths where a first publish failed and its mount could not be removed. */
  incomplete: Set<string>
  cleanup: Cleanup
}): Publish {
  const { clock, log, mounter, ledger, planning, reconcile, refreshSchedule, adopt, volumes } = deps
  const { scheduledRevocations, budget, tmpfsSize, identityUsers, importUsers, incomplete, cleanup } = deps

  return async (request, signal) => {
    const known = volumes.get(request.targetPath)
    if (known !== undefined && isStillMounted(known)) return republish(known, request)
    if (known !== undefined) await forgetLost(known)
    const adopted = known === undefined ? await adopt(request) : undefined
    if (adopted === undefined) return publishFirst(request, signal)
    importUsers.add(adopted.entry)
    volumes.add(adopted)
    refreshSchedule.wake([adopted])
  }

  function republish(volume: Volume, request: PublishRequest): void {
    checkSame(volume.entry, request)
    if (volume.receiveTokens(request.tokens)) refreshSchedule.wake([volume])
  }

  /** Unknown (out of descriptors) counts as mounted: kubelet must not give up a running pod's volume. */
  function isStillMounted({ entry }: Volume): boolean {
    try {
      return mounter.isMounted(entry.targetPath)
    } catch (error) {
      const { volumeId, pod, targetPath } = entry
      log.error({ volumeId, pod, targetPath, error }, 'mount not checked, taking it for mounted')
      return true
    }
  }

  /** Unmounted by another program: kubelet asks for a volume, so it gets a new one. */
  async function forgetLost(volume: Volume): Promise<void> {
    const { targetPath, volumeId, pod } = volume.entry
    log.warn({ volumeId, pod, targetPath }, 'the mount of a known volume is gone, publishing it again')
    refreshSchedule.end(volume)
    volumes.delete(volume)
    cleanup.forget(targetPath)
    await cleanup.release(volume)
    await scheduledRevocations.revokeAll(volume.leases.all)
  }

  async function publishFirst(request: PublishRequest, signal: AbortSignal): Promise<void> {
    importUsers.add(request)
    try {
      tmpfsSize.claim(request)
      const plan = await waitFor(planning.plan(request, signal), signal)
      const entry = ledgerEntry(request, {
        updateMode: plan.spec.updateMode,
        sizeBytes: tmpfsSize.leastBytes,
        phase: 'mounting',
      })
      const volume = Volume.publishing(entry, clock.monotonic(), request.tokens)
      await identityUsers.hold(volume, plan.identity, () => publishNew(volume, plan, signal))
    } catch (error) {
      // A mount that is still there counts until it is removed.
      if (!incomplete.has(request.targetPath)) budget.release(request.targetPath)
      importUsers.remove(request)
      throw error
    }
  }

  /** Killed before the volume is complete, the next start removes the mount. */
  async function publishNew(volume: Volume, plan: Plan, signal: AbortSignal): Promise<void> {
    const target = newMount(volume)
    try {
      const { at, syncFailure } = await reconcile(volume, plan, target, {}, signal)
      if (syncFailure !== undefined) throw syncFailure
      volume.markComplete()
      ledger.put(volume.entry)
      volume.markInSync(at)
    } catch (error) {
      if (target.progress !== 'fetching') await removeMount(volume, target)
      volume.markGone()
      throw error
    }
    volumes.add(volume)
    refreshSchedule.begin(volume, plan.intervalMs)
  }

  /** The call is serialized already. */
  function newMount(volume: Volume): NewMount {
    const target: NewMount = {
      progress: 'fetching',
      serialize: (write) => write(),
      prepare(files, signal) {
        target.progress = 'preparing'
        signal.throwIfAborted()
        tmpfsSize.reserve(volume, files)
        const { entry } = volume
        ledger.put(entry)
        mounter.mount(entry.targetPath, { sizeBytes: entry.sizeBytes, gid: entry.fsGroup })
        target.progress = 'mounted'
      },
    }
    return target
  }

  /** Each part whatever becomes of the others. Files in a mount that is not ours are not ours to delete. */
  async function removeMount(volume: Volume, { progress }: NewMount): Promise<void> {
    const { targetPath, volumeId, pod } = volume.entry
    if (progress === 'mounted') cleanup.wipe(targetPath)
    // Before the mount, which holds the lease store, as in an unpublish.
    await scheduledRevocations.revokeUnused(volume, volume.leases.all)
    try {
      mounter.unmount(targetPath)
      cleanup.forget(targetPath)
    } catch (error) {
      // Half a set of files may be in it, and must not be taken for a complete one: the ledger says so to a later process.
      if (progress === 'mounted') incomplete.add(targetPath)
      const fields = { volumeId, pod, targetPath, error: toFault(error) }
      log.error(fields, 'the mount of a failed publish was not removed, the next call tries again')
    }
  }
}

type NewMount = WriteTarget & { progress: 'fetching' | 'preparing' | 'mounted' }

/** Tokens may differ, everything else must be as before. */
function checkSame(entry: LedgerEntry, request: PublishRequest): void {
  if (entry.volumeId !== request.volumeId) {
    throw new FaultError('already_exists', { reason: `as volume ${entry.volumeId}` })
  }
  if (entry.fingerprint !== request.fingerprint) {
    throw new FaultError('already_exists', { reason: 'same volume, other attributes or capability' })
  }
}
