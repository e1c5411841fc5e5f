import { waitFor } from '../core/collapse.ts'
import { FaultError, toFault } from '../core/faults/fault.ts'
import type { UpdateMode } from '../core/imports/import.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import type { PublishRequest } from '../core/ports/node.ts'
import type { SecretStore } from '../core/ports/vault.ts'
import type { LedgerEntry, LedgerStore, Mounter, VolumeFiles, VolumeStats } from '../core/ports/volume.ts'
import type { Config } from '../core/settings/config.ts'
import type { Budget } from './budget.ts'
import type { Delivery } from './deliver.ts'
import type { FirstFiles } from './first-files.ts'
import { hasFiles } from './has-files.ts'
import type { ImportUsers } from './import-users.ts'
import type { Leases } from './leases/leases.ts'
import type { Rotation } from './refresh.ts'
import type { Release } from './release.ts'
import type { Room } from './tmpfs-size.ts'
import type { Farewell } from './unpublish.ts'
import { LEAST_BYTES } from './volume-size.ts'
import { type MountedVolume, openVolume, type Volumes } from './volumes.ts'

export type Publish = (request: PublishRequest, signal: AbortSignal) => Promise<void>

/**
 * NodePublishVolume. The first time: read Vault, mount, write, and leave nothing behind on failure.
 * Again, as kubelet does for a live pod every minute: take the fresh token and answer OK without touching anything.
 * Calls for one target path must come one after the other (flow/queue.ts).
 */
export function createPublish(deps: {
  settings: Pick<Config, 'maxVolumeBytes'>
  clock: Clock
  log: Log
  mounter: Mounter
  files: VolumeFiles
  ledger: LedgerStore
  statsOf: (targetPath: string) => VolumeStats
  store: Pick<SecretStore, 'acquire'>
  release: Release
  delivery: Delivery
  firstFiles: FirstFiles
  rotation: Rotation
  volumes: Volumes
  leases: Pick<Leases, 'release'>
  budget: Pick<Budget, 'count' | 'release'>
  room: Pick<Room, 'claim'>
  importUsers: ImportUsers
  /** Target paths where a first publish failed and its mount could not be removed. */
  incomplete: Set<string>
  farewell: Farewell
}): Publish {
  const { settings, clock, log, mounter, files, ledger, statsOf, store, release } = deps
  const { delivery, firstFiles, rotation, volumes, leases } = deps
  const { budget, room, importUsers, incomplete, farewell } = deps

  return async (request, signal) => {
    const known = volumes.get(request.targetPath)
    if (known !== undefined && isStillMounted(known)) return republish(known, request)
    if (known !== undefined) await forgetLost(known)
    else if (await adopt(request)) return
    await publishFirst(request, signal)
  }

  function republish(volume: MountedVolume, request: PublishRequest): void {
    checkSame(volume.entry, request)
    volume.tokens = request.tokens
    // A volume that waits for a token need not wait for its timer too.
    if (waitsForToken(volume)) rotation.wake([volume])
  }

  /** Whoever cannot look (out of descriptors) must not have kubelet give up a running pod's volume. */
  function isStillMounted({ entry }: MountedVolume): boolean {
    try {
      return mounter.isMounted(entry.targetPath)
    } catch (error) {
      const { volumeId, pod, targetPath } = entry
      log.error({ volumeId, pod, targetPath, error }, 'could not look at a mount, taking it for mounted')
      return true
    }
  }

  /** Somebody else unmounted it: kubelet asks for a volume, so it gets one. */
  async function forgetLost(volume: MountedVolume): Promise<void> {
    const { targetPath, volumeId, pod } = volume.entry
    log.warn({ volumeId, pod, targetPath }, 'the mount of a known volume is gone, publishing it anew')
    rotation.end(volume)
    volumes.delete(targetPath)
    farewell.forget(targetPath)
    await farewell.leave(volume)
    await leases.release(volume)
  }

  /** The state directory was lost while pods went on: a volume with complete files is taken over as it is. */
  async function adopt(request: PublishRequest): Promise<boolean> {
    const { targetPath, volumeId, pod } = request
    if (!mounter.isMounted(targetPath)) return false
    // As the files are and not as the import says today: its mode may have been edited since.
    const updateMode = incomplete.has(targetPath) ? undefined : files.found(targetPath)
    const entry = updateMode && { ...entryFor(request, updateMode), phase: 'complete' as const }
    if (!entry || !(await hasFiles(deps, entry))) {
      farewell.wipe(targetPath)
      mounter.unmount(targetPath)
      farewell.forget(targetPath)
      return false
    }
    log.warn({ volumeId, pod, targetPath }, 'took over a mounted volume that the ledger did not know')
    entry.sizeBytes = sizeOf(targetPath)
    // It is there already: who counts it not at all would let others have its memory too.
    budget.count(entry, entry.sizeBytes)
    remember(entry)
    const volume = openVolume(entry, { tokens: request.tokens, lastSyncedAt: clock.monotonic() })
    importUsers.add(entry)
    volumes.set(volume)
    rotation.wake([volume])
    return true
  }

  function sizeOf(targetPath: string): number {
    try {
      return statsOf(targetPath).bytes.total
    } catch {
      return settings.maxVolumeBytes
    }
  }

  /** A pod is running on it: it must not fail for want of a ledger. */
  function remember(entry: LedgerEntry): void {
    try {
      ledger.put(entry)
    } catch (error) {
      const { volumeId, pod } = entry
      log.error({ volumeId, pod, error: toFault(error) }, 'a volume could not be written down, going on')
    }
  }

  async function publishFirst(request: PublishRequest, signal: AbortSignal): Promise<void> {
    importUsers.add(request)
    try {
      room.claim(request)
      await publishNew(request, signal)
    } catch (error) {
      // What is still mounted counts until somebody removes it.
      if (!incomplete.has(request.targetPath)) budget.release(request.targetPath)
      importUsers.remove(request)
      throw error
    }
  }

  async function publishNew(request: PublishRequest, signal: AbortSignal): Promise<void> {
    const plan = await waitFor(delivery.plan(request, signal), signal)
    const { identity } = plan
    store.acquire(identity, request.volumeId)
    const volume = openVolume(entryFor(request, plan.spec.updateMode), {
      tokens: request.tokens,
      lastSyncedAt: clock.monotonic(),
    })
    try {
      const { basis, at } = await firstFiles(volume, plan, signal)
      Object.assign(volume, { standing: { state: 'fresh' }, basis, identity, inStepAt: at })
      volumes.set(volume)
      rotation.begin(volume, plan.intervalMs)
    } catch (error) {
      await release(identity.key, request.volumeId)
      throw error
    }
  }

  function entryFor(request: PublishRequest, updateMode: UpdateMode): LedgerEntry {
    const { volumeId, targetPath, readOnly, fsGroup, pod, importName, fingerprint } = request
    return {
      volumeId,
      targetPath,
      readOnly,
      fsGroup,
      pod,
      importName,
      fingerprint,
      updateMode,
      sizeBytes: Math.min(LEAST_BYTES, settings.maxVolumeBytes),
      leaseStoreKey: undefined,
      phase: 'mounting',
    }
  }
}

/** Tokens may differ, everything else must be as before. */
function checkSame(entry: LedgerEntry, request: PublishRequest): void {
  if (entry.volumeId !== request.volumeId) {
    throw new FaultError('already_exists', { reason: `as volume ${entry.volumeId}` })
  }
  if (entry.fingerprint !== request.fingerprint) {
    throw new FaultError('already_exists', { reason: 'same volume, other attributes or capability' })
  }
}

function waitsForToken({ sync }: MountedVolume): boolean {
  if (sync.state === 'resumed') return true
  return sync.state === 'stale' && sync.error.fault === 'token_missing'
}
