import type { Clock } from '../../src/core/ports/clock.ts'

type Alarm = { dueAt: number; order: number; task: () => void }

/**
 * Time that moves only when the test says so.
 * Sleeps and timers that fall due during `advance` run in the order of their due times.
 */
export class FakeClock implements Clock {
  #now: number
  #monotonic = 1_000
  #order = 0
  readonly #alarms = new Set<Alarm>()

  constructor(startMs = Date.UTC(2030, 0, 1)) {
    this.#now = startMs
  }

  now(): number {
    return this.#now
  }

  monotonic(): number {
    return this.#monotonic
  }

  /** The wall clock is set, forward or back; timers and durations do not notice. */
  step(byMs: number): void {
    this.#now += byMs
  }

  after(delayMs: number, task: () => void): () => void {
    const alarm = { dueAt: this.#monotonic + Math.max(0, delayMs), order: this.#order++, task }
    this.#alarms.add(alarm)
    return () => {
      this.#alarms.delete(alarm)
    }
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const onAbort = () => {
        cancel()
        reject(signal?.reason)
      }
      const cancel = this.after(delayMs, () => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      })
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  /** How many timers and sleeps are waiting. */
  get waiting(): number {
    return this.#alarms.size
  }

  /** Forgets all timers, as when their process is killed. */
  forget(): void {
    this.#alarms.clear()
  }

  /**
   * Moves time on by `delayMs`. Every timer due by then runs at its own due time, also those that earlier
   * ones set; after each, promise callbacks run before the next.
   */
  async advance(delayMs: number): Promise<void> {
    const until = this.#monotonic + delayMs
    await runReady()
    for (let next = this.#nextDue(until); next; next = this.#nextDue(until)) {
      this.#alarms.delete(next)
      this.#moveTo(next.dueAt)
      next.task()
      await runReady()
    }
    this.#moveTo(until)
    await runReady()
  }

  #moveTo(monotonic: number): void {
    this.#now += monotonic - this.#monotonic
    this.#monotonic = monotonic
  }

  #nextDue(until: number): Alarm | undefined {
    return [...this.#alarms]
      .filter((alarm) => alarm.dueAt <= until)
      .sort((a, b) => a.dueAt - b.dueAt || a.order - b.order)[0]
  }
}

/** Lets every promise callback that is ready run: setImmediate comes after all of them. */
function runReady(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
