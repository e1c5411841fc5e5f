import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../src/core/ports/clock.ts'

/** Real time, for tests over real sockets whose other end keeps real time too. */
export const realClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (delayMs, task) => {
    const timer = setTimeout(task, delayMs).unref()
    return () => clearTimeout(timer)
  },
  sleep: (delayMs, signal) => sleep(delayMs, undefined, signal ? { signal } : {}),
}
