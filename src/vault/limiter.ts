import { FaultError } from '../core/errors.ts'
import type { Clock } from '../core/ports.ts'

/** The node's ceiling on calls to Vault: one for all addresses. */
export type Limiter = {
  /**
   * Runs `task` when it is its turn, first come first served.
   * @throws FaultError rate_limited when the address asked for a longer pause than is worth waiting for
   * @throws the signal's reason when it aborts while waiting
   */
  run<T>(address: string, task: () => Promise<T>, signal: AbortSignal): Promise<T>
  /** No call to `address` starts before `until` (milliseconds since the Unix epoch). */
  pause(address: string, until: number): void
}

/** A longer pause than this is told to the caller instead of waited out: it holds files that stay good. */
const PATIENCE_MS = 5_000

/**
 * @param options.callsPerSecond also the burst
 * @param options.concurrency calls under way at once
 */
export function createLimiter(options: {
  clock: Clock
  callsPerSecond: number
  concurrency: number
}): Limiter {
  const { clock, callsPerSecond, concurrency } = options
  const queue: { admit: () => void }[] = []
  const pauses = new Map<string, number>()
  const burst = Math.max(1, callsPerSecond)
  let tokens = burst
  let filledAt = clock.now()
  let running = 0
  let isTimerSet = false

  const refill = () => {
    const now = clock.now()
    // The wall clock may be set back: that costs nobody tokens.
    tokens = Math.min(burst, tokens + (Math.max(0, now - filledAt) / 1000) * callsPerSecond)
    filledAt = now
  }

  const admitNext = () => {
    refill()
    while (queue.length > 0 && running < concurrency && tokens >= 1) {
      tokens -= 1
      running += 1
      queue.shift()?.admit()
    }
    if (queue.length === 0 || running >= concurrency || isTimerSet) return
    isTimerSet = true
    clock.after(Math.ceil(((1 - tokens) / callsPerSecond) * 1000), () => {
      isTimerSet = false
      admitNext()
    })
  }

  const turn = (signal: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const leave = () => {
        queue.splice(queue.indexOf(waiter), 1)
        reject(signal.reason)
      }
      const waiter = {
        admit: () => {
          signal.removeEventListener('abort', leave)
          resolve()
        },
      }
      signal.addEventListener('abort', leave, { once: true })
      queue.push(waiter)
      admitNext()
    })

  const waitForPause = async (address: string, signal: AbortSignal) => {
    const remaining = (pauses.get(address) ?? 0) - clock.now()
    if (remaining <= 0) {
      pauses.delete(address)
      return
    }
    if (remaining > PATIENCE_MS) throw new FaultError('rate_limited', { address, retryAfterMs: remaining })
    await clock.sleep(remaining, signal)
  }

  const isPaused = (address: string) => (pauses.get(address) ?? 0) > clock.now()

  const finish = () => {
    running -= 1
    admitNext()
  }

  const enter = async (address: string, signal: AbortSignal) => {
    for (;;) {
      await waitForPause(address, signal)
      await turn(signal)
      // The pause may have been asked for while this call stood in the queue.
      if (!isPaused(address)) return
      finish()
    }
  }

  return {
    run: async (address, task, signal) => {
      signal.throwIfAborted()
      await enter(address, signal)
      try {
        return await task()
      } finally {
        finish()
      }
    },
    pause: (address, until) => {
      pauses.set(address, Math.max(until, pauses.get(address) ?? 0))
    },
  }
}
