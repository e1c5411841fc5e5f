import { FaultError } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import { createCallQueue } from './call-queue.ts'
import { createPauses } from './pauses.ts'

/** The origin of a call, and the part of Vault that it needs. */
export type Caller = {
  address: string
  /** Kubernetes namespace of the pod; '' where the plugin asks for itself. */
  asker: string
  /** Vault namespace and mount: Vault limits them together, and they hang together. */
  mount: string
  /** A login, renewal or revocation. */
  isUrgent: boolean
}

/** The calls to one address. */
export type Lane = {
  /**
   * Resolves when the call may start; the caller must leave afterwards.
   * @throws FaultError rate_limited; the signal's reason
   */
  enter(caller: Caller, signal: AbortSignal): Promise<void>
  leave(caller: Caller): void
  /** Starts the calls that may start now. */
  admit(): void
  limited(caller: Caller, pauseMs: number): void
  pauseAll(pauseMs: number): void
  /** No call runs or waits, and a new one would not have to wait. */
  isAtRest(): boolean
}

/** For a longer pause than this, in milliseconds, calls fail instead of waiting: the files stay as they are. */
const PATIENCE_MS = 5_000
/** Calls that one asker may have waiting. */
export const MOST_WAITING = 1_000
/** A mount may have so many times as many places as are left free: two thirds of all. */
const MOUNT_SHARE = 2

/** Addresses whose places one asker's calls may fill: an import may name any address where all are allowed. */
const EVERYWHERE = 4

type Waiter = Caller & { letIn(): void; refuse(error: FaultError): void }

/** @param deps.everywhere calls under way at all addresses, by asker */
export function createLane(deps: {
  address: string
  clock: Clock
  /** Also the burst. */
  callsPerSecond: number
  /** Calls under way at once. */
  concurrency: number
  everywhere: Counter
}): Lane {
  const { address, clock, callsPerSecond, concurrency, everywhere } = deps
  const waiting = createCallQueue<Waiter>()
  const pauses = createPauses(clock)
  const running = createCounter()
  const burst = Math.max(1, callsPerSecond)
  let tokens = burst
  let filledAt = clock.monotonic()
  let cancelTimer = () => {}

  const refill = () => {
    const now = clock.monotonic()
    tokens = Math.min(burst, tokens + ((now - filledAt) / 1000) * callsPerSecond)
    filledAt = now
  }

  /**
   * Calls that hang leave places free. An asker has no more places than it leaves to others: a single one half of all, of
   * two each a third; the same holds for one of its mounts beside its others. A mount that several use has two thirds. An
   * asker whose calls hang at one mount may still make one at each of the others while a quarter is free.
   */
  const hasRoom = (asker: string, mount: string) => {
    const free = concurrency - running.of(EVERYTHING)
    const ofBoth = running.of(byBoth(asker, mount))
    const isFirst = ofBoth === 0 && free > concurrency / 4
    const hasShare = ofBoth < free - running.of(byAsker(asker))
    return (isFirst || hasShare) && running.of(byMount(mount)) < MOUNT_SHARE * free
  }

  const mayGo = (asker: string, mount: string) =>
    hasRoom(asker, mount) &&
    everywhere.of(asker) < concurrency * EVERYWHERE &&
    pauses.leftMs({ asker, mount }) <= 0

  const count = (caller: Caller, by: 1 | -1) => {
    everywhere.add(caller.asker, by)
    for (const key of keysOf(caller)) running.add(key, by)
  }

  const admit = () => {
    refill()
    while (waiting.size > 0 && tokens >= 1 && running.of(EVERYTHING) < concurrency) {
      const next = waiting.take(mayGo)
      if (next === undefined) break
      tokens -= 1
      count(next, 1)
      next.letIn()
    }
    armTimer()
  }

  /** For the next token of the rate limit and the end of a pause. A place that becomes free comes by `leave`. */
  const armTimer = () => {
    cancelTimer()
    cancelTimer = () => {}
    if (waiting.size === 0 || running.of(EVERYTHING) >= concurrency) return
    const delayMs = tokens < 1 ? ((1 - tokens) / callsPerSecond) * 1000 : pauses.nextEndMs()
    if (delayMs !== undefined) cancelTimer = clock.after(Math.ceil(delayMs), admit)
  }

  const pausedFault = (who: { asker: string; mount: string }): FaultError | undefined => {
    const leftMs = pauses.leftMs(who)
    return leftMs > PATIENCE_MS
      ? new FaultError('rate_limited', { address, retryAfterMs: leftMs })
      : undefined
  }

  const refuseThePaused = () => {
    for (const waiter of waiting.drop((asker, mount) => pausedFault({ asker, mount }) !== undefined)) {
      const fault = pausedFault(waiter)
      if (fault !== undefined) waiter.refuse(fault)
    }
    armTimer()
  }

  return {
    enter: (caller, signal) =>
      new Promise<void>((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason)
        const fault = pausedFault(caller) ?? crowdedFault(caller, waiting.countOf(caller.asker))
        if (fault !== undefined) return reject(fault)
        const giveUp = () => {
          waiting.remove(waiter)
          armTimer()
          reject(signal.reason)
        }
        const settle = () => signal.removeEventListener('abort', giveUp)
        const waiter: Waiter = {
          ...caller,
          letIn: () => {
            settle()
            resolve()
          },
          refuse: (error) => {
            settle()
            reject(error)
          },
        }
        signal.addEventListener('abort', giveUp, { once: true })
        waiting.add(waiter)
        admit()
      }),
    leave: (caller) => count(caller, -1),
    admit,
    limited: (caller, pauseMs) => {
      pauses.limited(caller, pauseMs)
      refuseThePaused()
    },
    pauseAll: (pauseMs) => {
      pauses.all(pauseMs)
      refuseThePaused()
    },
    isAtRest: () => {
      refill()
      const isEmpty = running.of(EVERYTHING) === 0 && waiting.size === 0
      return isEmpty && tokens === burst && pauses.nextEndMs() === undefined
    },
  }
}

function crowdedFault({ address, asker }: Caller, count: number): FaultError | undefined {
  if (count < MOST_WAITING) return undefined
  return new FaultError('rate_limited', {
    address,
    reason: `${MOST_WAITING} calls of namespace "${asker}" wait for their turn at Vault ${address} already`,
    setting: 'import less at once in this namespace, or raise --vault-qps; it is tried again by itself',
  })
}

const EVERYTHING = 'all'
const byAsker = (asker: string) => `asker ${asker}`
const byMount = (mount: string) => `mount ${mount}`
const byBoth = (asker: string, mount: string) => `both ${asker} ${mount}`

function keysOf({ asker, mount }: Caller): string[] {
  return [EVERYTHING, byAsker(asker), byMount(mount), byBoth(asker, mount)]
}

export type Counter = { of(key: string): number; add(key: string, by: number): void }

/** Keeps no zeros. */
export function createCounter(): Counter {
  const counts = new Map<string, number>()
  return {
    of: (key) => counts.get(key) ?? 0,
    add: (key, by) => {
      const count = (counts.get(key) ?? 0) + by
      if (count === 0) counts.delete(key)
      else counts.set(key, count)
    },
  }
}
