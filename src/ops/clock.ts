import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../core/ports.ts'

/** What setTimeout can count, 24 days; it takes anything longer for 1 ms. */
const LONGEST_MS = 2 ** 31 - 1

/**
 * The machine's time. Timers alone do not keep the process alive: the sockets it serves do.
 * `now` is the wall clock and may jump, on purpose: what it is held against was timed by others (tokens, certificates,
 * Retry-After) or by an earlier process of ours, and a clock that only counts from our start stands still while the
 * machine is suspended, and would keep for ever the error that a jump puts right. Timers do not jump.
 */
export function createClock(): Clock {
  return {
    now: () => Date.now(),
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
