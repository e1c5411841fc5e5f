import { createFairQueue } from '../core/fair-queue.ts'
import { FaultError } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Volume } from './volume.ts'

/** Of the node, and of one namespace. A large import takes several times its volume's size in memory. */
const PLACES = { total: 2, perNamespace: 1 }
/** After so long a place is freed for others, in milliseconds. */
const HOLD_MS = 10_000
/** An aborted task keeps its place until it has ended, at most so long, in milliseconds. */
const LINGER_MS = 5_000

/** The import turned out to be large under way: its answers must be dropped before it waits for a place. */
export class LargeImportFound extends Error {
  override readonly name = 'LargeImportFound'
}

/** Bounds the memory of reconciling: small imports run side by side, of large ones few at a time. */
export type LargeImports = {
  /**
   * Runs the task, which throws LargeImportFound when the volume turns out to need a place; then waits for one and runs
   * the task again.
   * @throws FaultError deadline when a place was held for too long; what the task throws; the signal's reason
   */
  run<T>(volume: Volume, signal: AbortSignal, task: (signal: AbortSignal) => Promise<T>): Promise<T>
}

export function createLargeImports({ clock }: { clock: Clock }): LargeImports {
  const places = createFairQueue(PLACES)

  async function inPlace<T>(
    namespace: string,
    signal: AbortSignal,
    task: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const release = await places.enter(namespace, signal)
    const late = new AbortController()
    const reason = `reading and writing a large import, which may take ${HOLD_MS / 1000} s`
    const cancels = [
      clock.after(HOLD_MS, () => late.abort(new FaultError('deadline', { reason }))),
      clock.after(HOLD_MS + LINGER_MS, release),
    ]
    try {
      return await task(AbortSignal.any([signal, late.signal]))
    } finally {
      for (const cancel of cancels) cancel()
      release()
    }
  }

  return {
    async run(volume, signal, task) {
      if (!volume.isLarge) {
        try {
          return await task(signal)
        } catch (error) {
          if (!(error instanceof LargeImportFound)) throw error
          volume.markLarge()
        }
      }
      return inPlace(volume.entry.pod.namespace, signal, task)
    },
  }
}
