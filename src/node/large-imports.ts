import { createFairQueue } from '../core/fair-queue.ts'
import { FaultError } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { MountedVolume } from './volumes.ts'

/** Of the node, and of one namespace. What one of them holds in memory is several times its volume. */
const PLACES = { total: 2, perNamespace: 1 }
/** After so long a place is given up, in milliseconds: others wait. */
const HOLD_MS = 10_000
/** Until a task that was told to end has ended its place stays taken, at most so long. */
const LINGER_MS = 5_000

/** Found out under way: what is held of it must be let go of before it waits. */
export class TooHeavy extends Error {
  override readonly name = 'TooHeavy'
}

/** Memory for what is read, rendered and written: of small imports as much as there are, of large ones few at a time. */
export type Weighing = {
  /**
   * Runs the task, which throws TooHeavy when the volume turns out to need a place; then it waits and begins anew.
   * @throws FaultError deadline when a place was held for too long; what the task throws; the signal's reason
   */
  run<T>(volume: MountedVolume, signal: AbortSignal, task: (signal: AbortSignal) => Promise<T>): Promise<T>
}

export function createWeighing({ clock }: { clock: Clock }): Weighing {
  const places = createFairQueue(PLACES)

  async function inPlace<T>(
    namespace: string,
    signal: AbortSignal,
    task: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const leave = await places.enter(namespace, signal)
    const late = new AbortController()
    const reason = `reading and writing a large import, which may take ${HOLD_MS / 1000} s`
    const cancels = [
      clock.after(HOLD_MS, () => late.abort(new FaultError('deadline', { reason }))),
      clock.after(HOLD_MS + LINGER_MS, leave),
    ]
    try {
      return await task(AbortSignal.any([signal, late.signal]))
    } finally {
      for (const cancel of cancels) cancel()
      leave()
    }
  }

  return {
    async run(volume, signal, task) {
      if (!volume.isHeavy) {
        try {
          return await task(signal)
        } catch (error) {
          if (!(error instanceof TooHeavy)) throw error
          volume.isHeavy = true
        }
      }
      return inPlace(volume.entry.pod.namespace, signal, task)
    },
  }
}
