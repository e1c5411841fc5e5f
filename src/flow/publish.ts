import type { Config } from '../core/config.ts'
import { FaultError } from '../core/errors.ts'
import type { UpdateMode } from '../core/import.ts'
import type { Mounter, VolumeFiles } from '../core/mounted.ts'
import type { Clock, LedgerEntry, LedgerStore, Log, PublishRequest, SecretStore } from '../core/ports.ts'
import type { Collected } from './collect.ts'
import { type Delivery, shapeOf } from './deliver.ts'
import type { Gate } from './gate.ts'
import { hasFiles } from './has-files.ts'
import type { Leases } from './leases.ts'
import type { Release } from './release.ts'
import type { Rotation } from './rotate.ts'
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
  store: Pick<SecretStore, 'retain'>
  release: Release
  delivery: Delivery
  rotation: Rotation
  volumes: Volumes
  leases: Pick<Leases, 'adopt' | 'discard' | 'release'>
  gate: Gate
}): Publish {
  const { settings, clock, log, mounter, files, ledger, store, release } = deps
  const { delivery, rotation, volumes, leases, gate } = deps

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
    ledger.remove(targetPath)
    if (volume.identity !== undefined) await release(volume.identity.key, volumeId)
    await leases.release(volume)
  }

  /** The state directory was lost while pods went on: a volume with complete files is taken over as it is. */
  async function adopt(request: PublishRequest): Promise<boolean> {
    const { targetPath, volumeId, pod } = request
    if (!mounter.isMounted(targetPath)) return false
    // As the files are and not as the import says today: its mode may have been edited since.
    const updateMode = files.found(targetPath)
    const entry = updateMode && { ...entryFor(request, updateMode), phase: 'complete' as const }
    if (!entry || !(await hasFiles(deps, entry))) {
      mounter.unmount(targetPath)
      return false
    }
    log.warn({ volumeId, pod, targetPath }, 'took over a mounted volume that the ledger did not know')
    ledger.put(entry)
    const volume = openVolume(entry, { tokens: request.tokens, inStepAt: clock.now() })
    volumes.set(volume)
    rotation.wake([volume])
    return true
  }

  async function publishFirst(request: PublishRequest, signal: AbortSignal): Promise<void> {
    const plan = await delivery.plan(request, signal)
    const { identity } = plan
    store.retain(identity, request.volumeId)
    const volume = openVolume(entryFor(request, plan.spec.updateMode), {
      tokens: request.tokens,
      inStepAt: clock.now(),
    })
    try {
      const collected = await delivery.collect(plan, volume, signal)
      if (collected.basis.verdict !== undefined) throw collected.basis.verdict
      await bringUp(volume, collected, signal)
      Object.assign(volume, { standing: { state: 'fresh' }, basis: collected.basis, identity })
      volume.inStepAt = collected.at
      volumes.set(volume)
      rotation.begin(volume, plan.intervalMs)
    } catch (error) {
      await release(identity.key, request.volumeId)
      throw error
    }
  }

  /** Nothing stays that was issued for a volume that does not come up. */
  async function bringUp(volume: MountedVolume, collected: Collected, signal: AbortSignal): Promise<void> {
    try {
      signal.throwIfAborted()
      await delivery.sync(volume, collected, signal)
    } catch (error) {
      await leases.discard(volume, collected.fresh)
      throw error
    }
    await gate(() => mountAndWrite(volume, collected))
  }

  /** Killed in between, the ledger's phase tells the next start that these files are not complete. */
  async function mountAndWrite(volume: MountedVolume, collected: Collected): Promise<void> {
    const { entry } = volume
    const { targetPath, fsGroup, sizeBytes } = entry
    try {
      ledger.put(entry)
      mounter.mount(targetPath, { sizeBytes, gid: fsGroup })
      // Before any file: killed in between, the next start finds what is to be taken back.
      leases.adopt(volume, collected.fresh, collected.plan.orders, collected.plan.own)
      await files.apply(targetPath, shapeOf(entry), collected.files)
      entry.phase = 'complete'
      ledger.put(entry)
    } catch (error) {
      // After a failed first publish nothing may stay mounted: kubelet starts from nothing.
      // What is there without our mount is not ours to delete.
      if (mounter.isMounted(targetPath)) files.wipe(targetPath)
      // Before the mount and what is kept in it go, as in an unpublish.
      await leases.discard(volume, collected.fresh)
      mounter.unmount(targetPath)
      ledger.remove(targetPath)
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
      sizeBytes: settings.maxVolumeBytes,
      safeKey: undefined,
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

function waitsForToken({ standing }: MountedVolume): boolean {
  if (standing.state === 'resumed') return true
  return standing.state === 'stale' && standing.error.fault === 'token_missing'
}
