import { SHORTEST_PAUSE_MS } from './leases/lease-times.ts'

/** When one volume is refreshed next. */
export class RefreshTimer {
  #cancel: (() => void) | undefined
  #lastRefreshAt: number | undefined
  #minPauseMs = SHORTEST_PAUSE_MS

  get isSet(): boolean {
    return this.#cancel !== undefined
  }

  /** The earliest time, whatever asks for a refresh, by Clock.monotonic(). */
  get earliestAt(): number {
    return (this.#lastRefreshAt ?? Number.NEGATIVE_INFINITY) + this.#minPauseMs
  }

  /** Between two refreshes, in milliseconds. */
  setMinPause(ms: number): void {
    this.#minPauseMs = ms
  }

  /** A wake-up from now on, for an edit that this refresh may have missed, sets the timer again. */
  beginRefresh(now: number): void {
    this.#lastRefreshAt = now
    this.cancel()
  }

  /** Replaces the timer. @param start returns how to cancel it */
  set(start: (task: () => void) => () => void, task: () => void): void {
    this.cancel()
    this.#cancel = start(() => {
      this.#cancel = undefined
      task()
    })
  }

  cancel(): void {
    this.#cancel?.()
    this.#cancel = undefined
  }
}
