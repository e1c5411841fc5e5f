import { waitFor } from '../core/collapse.ts'
import type { FairQueue } from '../core/fair-queue.ts'
import { toFault } from '../core/faults/fault.ts'
import type { Log } from '../core/ports/log.ts'
import type { LedgerStore, Mounter, VolumeFiles } from '../core/ports/volume.ts'
import type { Collected } from './collect.ts'
import { type Delivery, shapeOf } from './deliver.ts'
import type { Weighing } from './large-imports.ts'
import type { Leases } from './leases/leases.ts'
import type { Plan } from './plan.ts'
import type { Room } from './tmpfs-size.ts'
import type { Farewell } from './unpublish.ts'
import { LIGHT_BYTES, type MountedVolume } from './volumes.ts'

/**
 * Reads Vault, mounts and writes. Nothing stays of what fails: kubelet starts from nothing.
 * @throws FaultError
 */
export type FirstFiles = (
  volume: MountedVolume,
  plan: Plan,
  signal: AbortSignal,
) => Promise<Pick<Collected, 'basis' | 'at'>>

export function createFirstFiles(deps: {
  log: Log
  mounter: Mounter
  files: VolumeFiles
  ledger: LedgerStore
  delivery: Pick<Delivery, 'collect' | 'sync'>
  leases: Pick<Leases, 'adopt' | 'discard'>
  room: Pick<Room, 'make'>
  writes: FairQueue
  weighing: Weighing
  incomplete: Set<string>
  farewell: Pick<Farewell, 'wipe' | 'forget'>
}): FirstFiles {
  const { log, mounter, files, ledger, delivery, leases, room } = deps
  const { writes, weighing, incomplete, farewell } = deps

  /** Whatever is asked ignores that nobody waits any more: what it brings then is taken back. */
  async function collect(volume: MountedVolume, plan: Plan, signal: AbortSignal): Promise<Collected> {
    const collecting = delivery.collect(plan, volume, signal)
    try {
      return await waitFor(collecting, signal)
    } catch (error) {
      if (signal.aborted) {
        const discard = ({ fresh }: Collected) => leases.discard(volume, fresh)
        collecting.then(discard).catch(() => undefined)
      }
      throw error
    }
  }

  /** Nothing stays that was issued for a volume that does not come up. */
  async function bringUp(volume: MountedVolume, collected: Collected, signal: AbortSignal): Promise<void> {
    try {
      await waitFor(delivery.sync(volume, collected, signal), signal)
    } catch (error) {
      await leases.discard(volume, collected.fresh)
      throw error
    }
    const mount = { isOurs: false }
    try {
      await writes.run(volume.entry.pod.namespace, () => mountAndWrite(volume, collected, mount, signal))
    } catch (error) {
      await cleanUp(volume, collected, mount)
      throw error
    }
  }

  /** Killed in between, the ledger's phase tells the next start that these files are not complete. */
  async function mountAndWrite(
    volume: MountedVolume,
    collected: Collected,
    mount: { isOurs: boolean },
    signal: AbortSignal,
  ): Promise<void> {
    const { entry } = volume
    const { targetPath, fsGroup } = entry
    signal.throwIfAborted()
    room.make(entry, collected.files)
    ledger.put(entry)
    mounter.mount(targetPath, { sizeBytes: entry.sizeBytes, gid: fsGroup })
    mount.isOurs = true
    // Before any file: killed in between, the next start finds what is to be taken back.
    leases.adopt(volume, collected.fresh, collected.plan.issueRequests, collected.plan.perVolumeIdentity)
    await files.apply(targetPath, shapeOf(entry), collected.files)
    entry.phase = 'complete'
    ledger.put(entry)
  }

  /** Each part whatever becomes of the others. What is there without our mount is not ours to delete. */
  async function cleanUp(
    volume: MountedVolume,
    collected: Collected,
    { isOurs }: { isOurs: boolean },
  ): Promise<void> {
    const { targetPath, volumeId, pod } = volume.entry
    if (isOurs) farewell.wipe(targetPath)
    // Before the mount and what is kept in it go, as in an unpublish.
    await leases.discard(volume, collected.fresh)
    try {
      mounter.unmount(targetPath)
      farewell.forget(targetPath)
    } catch (error) {
      // Half a set of files may be in it, and must not be taken for a whole one: the ledger tells a later process.
      if (isOurs) incomplete.add(targetPath)
      const fields = { volumeId, pod, targetPath, error: toFault(error) }
      log.error(fields, 'the mount of a failed publish could not be removed, the next call tries again')
    }
  }

  return (volume, plan, signal) =>
    weighing.run(volume, signal, async (inTime) => {
      const collected = await collect(volume, plan, inTime)
      if (collected.basis.verdict !== undefined) throw collected.basis.verdict
      await bringUp(volume, collected, inTime)
      volume.isHeavy = collected.weight > LIGHT_BYTES
      return collected
    })
}
