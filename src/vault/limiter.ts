import type { Clock } from '../core/ports/clock.ts'
import { type Caller, createCounter, createLane, type Lane } from './lane.ts'

/** The node's ceiling on calls to each Vault, shared fairly by the namespaces of the pods for which they are made. */
export type Limiter = {
  /** Calls under way at once to one address. */
  readonly concurrency: number
  /**
   * Runs `task` when the call may start: fair queueing among the askers of one address, where one's calls that hang
   * do not take the places of others.
   * @throws FaultError rate_limited when Vault asked for a longer pause than is worth waiting for, or when too many
   * calls of this asker wait
   * @throws the signal's reason when it aborts while waiting
   */
  run<T>(caller: Caller, task: () => Promise<T>, signal: AbortSignal): Promise<T>
  /** Vault answered a call of this caller with 429: such calls wait for `pauseMs`. */
  limited(caller: Caller, pauseMs: number): void
  /** No call to the address starts for `pauseMs`. */
  pauseAll(address: string, pauseMs: number): void
}

type Ceiling = {
  clock: Clock
  /** Also the burst. */
  callsPerSecond: number
  /** Calls under way at once. */
  concurrency: number
}

/** @param ceiling of each address */
export function createLimiter(ceiling: Ceiling): Limiter {
  const { concurrency } = ceiling
  const lanes = new Map<string, Lane>()
  const everywhere = createCounter()

  const laneOf = (address: string) => {
    const known = lanes.get(address)
    if (known !== undefined) return known
    // Imports come and go with their addresses: a lane at rest is the same as a new one.
    for (const [other, lane] of lanes) if (lane.isAtRest()) lanes.delete(other)
    const lane = createLane({ ...ceiling, address, everywhere })
    lanes.set(address, lane)
    return lane
  }

  return {
    concurrency,
    run: async (caller, task, signal) => {
      signal.throwIfAborted()
      const lane = laneOf(caller.address)
      await lane.enter(caller, signal)
      try {
        return await task()
      } finally {
        lane.leave(caller)
        // The asker's next call may wait at any address.
        for (const one of lanes.values()) one.admit()
      }
    },
    limited: (caller, pauseMs) => laneOf(caller.address).limited(caller, pauseMs),
    pauseAll: (address, pauseMs) => laneOf(address).pauseAll(pauseMs),
  }
}
