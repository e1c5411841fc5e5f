import type { FairQueue } from '../core/fair-queue.ts'
import { type FaultError, toFault } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { SecretSync } from '../core/ports/kubernetes.ts'
import type { SecretStore } from '../core/ports/vault.ts'
import type { VolumeFiles, VolumeShape } from '../core/ports/volume.ts'
import { type Collected, type Collecting, type How, isSameBasis, type Unchanged } from './collect.ts'
import type { Queue } from './keyed-queue.ts'
import type { Weighing } from './large-imports.ts'
import type { Leases } from './leases/leases.ts'
import type { Plan, Planning } from './plan.ts'
import type { Lookups } from './read-cache.ts'
import type { Release } from './release.ts'
import { wantedSecrets } from './secrets.ts'
import type { Room } from './tmpfs-size.ts'
import { heldBy, LIGHT_BYTES, type MountedVolume, type Volumes } from './volumes.ts'

/** A look older than this part of the interval is made anew; under 0.9, the shortest jittered interval. */
const SHARED_LOOK = 0.85
/** What others have seen is written once in this part of the interval, the shortest that jitter leaves. */
const REWRITE_PAUSE = 0.9

export type Refreshed = {
  changed: string[]
  /** By Clock.monotonic(). */
  at: number
  /** What did not succeed though the files are in step: a renewal, Kubernetes Secrets. */
  failure: FaultError | undefined
}

export type Why = { sinceMs: number; isWoken: boolean }

/**
 * From an import to files: the one way that first publish and rotation share.
 */
export type Delivery = Pick<Planning, 'plan'> &
  Pick<Collecting, 'collect'> & {
    /** Brings the Kubernetes Secrets of the import in step with these files. @throws FaultError sync_* */
    sync(volume: MountedVolume, collected: Collected, signal: AbortSignal): Promise<void>
    /** Renews what is issued to a volume, and nothing else: it needs no service-account token. @throws FaultError */
    keepIssued(volume: MountedVolume, signal: AbortSignal): Promise<void>
    /**
     * Brings a mounted volume in step, with a look that others made if there is one.
     * @param why.sinceMs how long ago this volume's own look was due: what others saw in most of this time will do
     * @param why.isWoken another volume has seen a change
     */
    refresh(volume: MountedVolume, plan: Plan, why: Why, signal: AbortSignal): Promise<Refreshed>
  }

export function createDelivery(deps: {
  planning: Planning
  collecting: Collecting
  store: Pick<SecretStore, 'acquire'>
  release: Release
  secretSync: SecretSync
  leases: Leases
  lookups: Lookups
  files: VolumeFiles
  volumes: Volumes
  queue: Queue
  writes: FairQueue
  room: Room
  weighing: Weighing
  clock: Clock
}): Delivery {
  const { planning, collecting, store, release, secretSync, leases, lookups } = deps
  const { files, volumes, queue, writes, room, weighing, clock } = deps

  /** Reads as the import's present identity; after an edit that is another one than the volume keeps alive. */
  async function collectAs(
    volume: MountedVolume,
    plan: Plan,
    how: How,
    signal: AbortSignal,
  ): Promise<Collected | Unchanged> {
    const { identity } = plan
    const { volumeId } = volume.entry
    const before = volume.identity
    const isNew = before?.key !== identity.key
    store.acquire(identity, volumeId)
    try {
      const collected = await collecting.collectChanged(plan, volume, signal, how)
      volumes.identify(volume, identity)
      if (isNew && before !== undefined) await release(before.key, volumeId)
      if (isGone(volume)) await release(identity.key, volumeId)
      return collected
    } catch (error) {
      if (isNew || isGone(volume)) await release(identity.key, volumeId)
      throw error
    }
  }

  /** Unpublished while Vault was asked: nobody else will let go of what was taken for it. */
  function isGone(volume: MountedVolume): boolean {
    return volumes.get(volume.entry.targetPath) !== volume
  }

  /** Writes, unless the volume went while Vault was asked. */
  async function applyTo(volume: MountedVolume, collected: Collected): Promise<string[]> {
    const { entry } = volume
    const { plan, basis, fresh } = collected
    if (isGone(volume)) {
      await leases.discard(volume, fresh)
      return []
    }
    try {
      room.grow(entry, collected.files)
    } catch (error) {
      await leases.discard(volume, fresh)
      throw error
    }
    // Until the files stand, nothing is known about them: a failed write is made again at the next look.
    volume.basis = undefined
    leases.adopt(volume, fresh, plan.issueRequests, plan.perVolumeIdentity)
    const { changed, added, removed } = await writes.run(entry.pod.namespace, () =>
      files.apply(entry.targetPath, shapeOf(entry), collected.files),
    )
    volume.basis = basis
    leases.retire(volume)
    room.shrink(entry, collected.files)
    const all = [...changed, ...added, ...removed]
    if (all.length > 0) volume.rewrittenAt = collected.at
    return all
  }

  async function sync(volume: MountedVolume, collected: Collected, signal: AbortSignal): Promise<void> {
    const { plan, at } = collected
    const { entry } = volume
    volume.secrets = wantedSecrets(
      plan.spec,
      { entry, requests: plan.issueRequests, fetchedAt: wallTime(at) },
      collected.files,
    )
    if (volume.secrets.length > 0) await secretSync.sync(volume.secrets, signal)
  }

  /** For other nodes, which have clocks of their own. */
  function wallTime(at: number): number {
    return clock.now() - (clock.monotonic() - at)
  }

  /** Somebody may have edited or deleted a Secret while the files stayed as they are. */
  async function syncAgain(volume: MountedVolume, at: number, signal: AbortSignal): Promise<void> {
    if (volume.secrets.length === 0) return
    const fetchedAt = wallTime(at)
    volume.secrets = volume.secrets.map((secret) => ({ ...secret, fetchedAt }))
    await secretSync.sync(volume.secrets, signal)
  }

  /**
   * A path may give each asker something else: whatever others have seen of it since, these files were written from it
   * a moment ago, and the volume's own look comes within the interval.
   */
  function isRewrittenLately({ basis, rewrittenAt }: MountedVolume, { spec, intervalMs }: Plan): boolean {
    if (basis?.spec !== spec || rewrittenAt === undefined) return false
    return clock.monotonic() - rewrittenAt < intervalMs * REWRITE_PAUSE
  }

  /** What others' looks say of the volume's files; undefined: it must look itself. */
  function knownStep(volume: MountedVolume, plan: Plan, sinceMs: number): { at: number } | undefined {
    const recent = lookups.recent(plan.identity, plan.paths, sinceMs * SHARED_LOOK)
    if (recent === undefined) return undefined
    const digests = collecting.digests(plan, recent.digests, heldBy(volume, []))
    if (isSameBasis(volume.basis, { spec: plan.spec, digests })) {
      if (volume.basis.verdict !== undefined) throw volume.basis.verdict
      return { at: recent.at }
    }
    return isRewrittenLately(volume, plan) ? { at: volume.lastSyncedAt } : undefined
  }

  async function refresh(
    volume: MountedVolume,
    plan: Plan,
    { sinceMs, isWoken }: Why,
    signal: AbortSignal,
  ): Promise<Refreshed> {
    // First of all: reads that fail must not let end what is issued.
    const { missing, failure } = await leases.keep(volume, plan.issueRequests, plan.perVolumeIdentity, signal)
    await leases.settle(volume)
    const known = missing.length === 0 ? knownStep(volume, plan, sinceMs) : undefined
    if (known !== undefined) {
      const unsynced = await failureOf(syncAgain(volume, known.at, signal))
      return { changed: [], at: known.at, failure: failure ?? unsynced }
    }
    return weighing.run(volume, signal, async (inTime) => {
      const collected = await collectAs(volume, plan, { missing, isWoken }, inTime)
      if (collected.basis.verdict !== undefined) {
        volume.basis = collected.basis
        throw collected.basis.verdict
      }
      if (collected.files === undefined) {
        const unsynced = isGone(volume) ? undefined : await failureOf(syncAgain(volume, collected.at, inTime))
        return { changed: [], at: collected.at, failure: failure ?? unsynced }
      }
      // Only the writing stands in the volume's queue: a slow Vault must not hold up an unpublish.
      const changed = await queue.run(volume.entry.targetPath, () => applyTo(volume, collected))
      volume.isHeavy = collected.weight > LIGHT_BYTES
      const unsynced = isGone(volume) ? undefined : await failureOf(sync(volume, collected, inTime))
      return { changed, at: collected.at, failure: failure ?? unsynced }
    })
  }

  async function keepIssued(volume: MountedVolume, signal: AbortSignal): Promise<void> {
    const held = heldBy(volume, [])
    const [first] = held
    if (first === undefined) return
    const requests = held.map(({ request }) => request)
    const { failure } = await leases.keep(volume, requests, first.identity, signal)
    await leases.settle(volume)
    if (failure !== undefined) throw failure
  }

  return { plan: planning.plan, collect: collecting.collect, sync, keepIssued, refresh }
}

export function shapeOf(entry: MountedVolume['entry']): VolumeShape {
  return { updateMode: entry.updateMode, gid: entry.fsGroup, sizeBytes: entry.sizeBytes }
}

async function failureOf(task: Promise<void>): Promise<FaultError | undefined> {
  return task.then(() => undefined, toFault)
}
