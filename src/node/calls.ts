import { FaultError, toFault } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Meter } from '../core/ports/metrics.ts'
import type { NodeService } from '../core/ports/node.ts'
import type { VolumeStats } from '../core/ports/volume.ts'
import type { KeyedQueue } from './keyed-queue.ts'
import type { Publish } from './publish.ts'
import type { Unpublish } from './unpublish.ts'
import type { Volumes } from './volumes.ts'

/**
 * The RPCs that do something: serialized by target path, measured.
 */
export function createNodeCalls(deps: {
  publish: Publish
  unpublish: Unpublish
  queue: KeyedQueue
  volumes: Volumes
  statsOf: (targetPath: string) => VolumeStats
  clock: Clock
  meter: Meter
}): NodeService & { stop(): Promise<void> } {
  const { publish, unpublish, queue, volumes, statsOf, clock, meter } = deps
  /** Publishes under way or waiting. */
  const publishing = new Set<{ targetPath: string; abort: AbortController }>()
  let phase: 'serving' | 'stopping' = 'serving'

  async function run(
    targetPath: string,
    measure: (result: string, seconds: number) => void,
    task: () => Promise<void>,
  ): Promise<void> {
    if (phase === 'stopping') throw new FaultError('shutting_down')
    const startedAt = clock.monotonic()
    const seconds = () => (clock.monotonic() - startedAt) / 1000
    try {
      await queue.run(targetPath, task)
      measure('ok', seconds())
    } catch (error) {
      measure(toFault(error).fault, seconds())
      throw error
    }
  }

  return {
    async publish(request, signal) {
      const { targetPath } = request
      const call = { targetPath, abort: new AbortController() }
      publishing.add(call)
      const either = AbortSignal.any([signal, call.abort.signal])
      try {
        await run(targetPath, meter.published, () => publish(request, either))
      } finally {
        publishing.delete(call)
      }
    },
    unpublish(request) {
      // Kubelet does not wait for the volume any more, and its end must not wait for Vault.
      const reason = 'publishing the volume (it is being unpublished)'
      for (const { targetPath, abort } of publishing) {
        if (targetPath === request.targetPath) abort.abort(new FaultError('deadline', { reason }))
      }
      return run(request.targetPath, meter.unpublished, () => unpublish(request))
    },
    stats({ volumeId, volumePath }) {
      const volume = volumes.get(volumePath)
      if (volume === undefined || volume.entry.volumeId !== volumeId) {
        throw new FaultError('volume_not_found', {
          reason: `volume ${volumeId} is not mounted at ${volumePath}`,
        })
      }
      return statsOf(volumePath)
    },
    /** Takes no new calls and waits for those under way. */
    async stop() {
      phase = 'stopping'
      await queue.idle()
    },
  }
}
