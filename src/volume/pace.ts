import { setImmediate as yieldToOthers } from 'node:timers/promises'

/** Yields to other work when this work has held the event loop for SLICE_MS. */
export type Pace = () => Promise<void>

const SLICE_MS = 15

export function createPace(): Pace {
  let began = performance.now()
  return async () => {
    if (performance.now() - began < SLICE_MS) return
    await yieldToOthers()
    began = performance.now()
  }
}
