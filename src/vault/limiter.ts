import { FaultError } from '../core/errors.ts'
import type { Clock } from '../core/ports.ts'

/** The node's ceiling on calls to each Vault: one that hangs takes no places from another. */
export type Limiter = {
  /**
   * Runs `task` when it is its turn among the calls to `address`, first come first served.
   * @throws FaultError rate_limited when the address asked for a longer pause than is worth waiting for
   * @throws the signal's reason when it aborts while waiting
   */
  run<T>(address: string, task: () => Promise<T>, signal: AbortSignal): Promise<T>
  /** No call to `address` starts before `until` (milliseconds since the Unix epoch). */
  pause(address: string, until: number): void
}

/** A longer pause than this is told to the caller instead of waited out: it holds files that stay good. */
const PATIENCE_MS = 5_000

type Ceiling = {
  clock: Clock
  /** Also the burst. */
  callsPerSecond: number
  /** Calls under way at once. */
  concurrency: number
}

/** @param ceiling of each address */
export function createLimiter(ceiling: Ceiling): Limiter {
  const lanes = new Map<string, Lane>()

  const laneOf = (address: string) => {
    const known = lanes.get(address)
    if (known !== undefined) return known
    // Imports come and go with their addresses: one that is as good as new need not be remembered.
    for (const [other, lane] of lanes) if (lane.isAtRest()) lanes.delete(other)
    const lane = createLane(address, ceiling)
    lanes.set(address, lane)
    return lane
  }

  return {
    run: async (address, task, signal) => {
      signal.throwIfAborted()
      const lane = laneOf(address)
      await lane.enter(signal)
      try {
        return await task()
      } finally {
        lane.leave()
      }
    },
    pause: (address, until) => laneOf(address).pause(until),
  }
}

/** The calls to one address. */
type Lane = {
  /** Resolves when it is the caller's turn, who must leave again. */
  enter(signal: AbortSignal): Promise<void>
  leave(): void
  pause(until: number): void
  /** Nobody is in it or waits for it, and whoever comes would not have to wait. */
  isAtRest(): boolean
}

function createLane(address: string, { clock, callsPerSecond, concurrency }: Ceiling): Lane {
  const queue: { admit: () => void }[] = []
  const burst = Math.max(1, callsPerSecond)
  let tokens = burst
  let filledAt = clock.now()
  let pausedAt = 0
  let pausedUntil = 0
  /** Places taken, and calls on their way to one. */
  let present = 0
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
      const giveUp = () => {
        queue.splice(queue.indexOf(waiter), 1)
        reject(signal.reason)
      }
      const waiter = {
        admit: () => {
          signal.removeEventListener('abort', giveUp)
          resolve()
        },
      }
      signal.addEventListener('abort', giveUp, { once: true })
      queue.push(waiter)
      admitNext()
    })

  const pauseLeft = () => {
    const now = clock.now()
    // The wall clock was set back: better one refusal more than a pause of hours.
    return now < pausedAt ? 0 : pausedUntil - now
  }

  const waitForPause = async (signal: AbortSignal) => {
    const remaining = pauseLeft()
    if (remaining <= 0) return
    if (remaining > PATIENCE_MS) throw new FaultError('rate_limited', { address, retryAfterMs: remaining })
    await clock.sleep(remaining, signal)
  }

  const giveBack = () => {
    running -= 1
    admitNext()
  }

  const takePlace = async (signal: AbortSignal) => {
    for (;;) {
      await waitForPause(signal)
      await turn(signal)
      // The pause may have been asked for while this call stood in the queue.
      if (pauseLeft() <= 0) return
      giveBack()
    }
  }

  return {
    enter: async (signal) => {
      present += 1
      try {
        await takePlace(signal)
      } catch (error) {
        present -= 1
        throw error
      }
    },
    leave: () => {
      present -= 1
      giveBack()
    },
    pause: (until) => {
      pausedUntil = pauseLeft() > 0 ? Math.max(until, pausedUntil) : until
      pausedAt = clock.now()
    },
    isAtRest: () => {
      refill()
      return present === 0 && tokens === burst && pauseLeft() <= 0
    },
  }
}
