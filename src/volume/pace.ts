import { setImmediate as nextTurn } from 'node:timers/promises'

/** Gives other work a turn when this work has held the event loop for a while. */
export type Pace = () => Promise<void>

const SLICE_MS = 15

export function createPace(): Pace {
  let began = performance.now()
  return async () => {
    if (performance.now() - began < SLICE_MS) return
    await nextTurn()
    began = performance.now()
  }
}
