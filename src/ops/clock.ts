import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../core/ports/clock.ts'

/** The longest delay of setTimeout, 24 days; it treats a longer one as 1 ms. */
const LONGEST_MS = 2 ** 31 - 1

/** The machine's time. Its timers do not keep the process alive: the sockets it serves do. */
export function createClock(): Clock {
  return {
    now: () => Date.now(),
    // CLOCK_MONOTONIC: neither NTP nor an administrator can step it.
    monotonic: () => performance.now(),
    after(delayMs, task) {
      let timer = setTimeout(next, Math.min(delayMs, LONGEST_MS)).unref()
      let leftMs = delayMs - LONGEST_MS

      function next(): void {
        if (leftMs <= 0) {
          task()
          return
        }
        timer = setTimeout(next, Math.min(leftMs, LONGEST_MS)).unref()
        leftMs -= LONGEST_MS
      }
      return () => clearTimeout(timer)
    },
    sleep: (delayMs, signal) => sleep(delayMs, undefined, signal && { signal }),
  }
}
