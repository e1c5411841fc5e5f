import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../core/ports.ts'

/** The machine's time. Timers alone do not keep the process alive: the sockets it serves do. */
export function createClock(): Clock {
  return {
    now: () => Date.now(),
    after(delayMs, task) {
      const timer = setTimeout(task, delayMs).unref()
      return () => clearTimeout(timer)
    },
    sleep: (delayMs, signal) => sleep(delayMs, undefined, signal && { signal }),
  }
}
