import type { Clock } from '../core/ports/clock.ts'

/** After a change, for others of the same burst: only the last one counts. */
const FIRST_MS = 200
/** The longest delay, of an import that is edited without end. */
const LONGEST_MS = 5_000
/** A pause of this, and of so many times the last delay, resets the delay. */
const QUIET_MS = 1_000
const QUIET_TIMES = 4

/** Passes on the last change of a burst, a while after the first. */
export type Debouncer = {
  push(change: string): void
  /** Drops a change that was not passed on yet. */
  discard(): void
  /** Resolves when no change is waiting or being applied. */
  idle(): Promise<void>
}

/** @param deps.apply must not throw */
export function createDebouncer(deps: {
  clock: Clock
  signal: AbortSignal
  apply: (change: string) => Promise<void>
}): Debouncer {
  const { clock, signal, apply } = deps
  let pending: string | undefined
  let waitMs = FIRST_MS
  let appliedAt = -Infinity
  let working: Promise<void> | undefined

  async function work(): Promise<void> {
    while (pending !== undefined) {
      const isQuiet = clock.monotonic() - appliedAt > QUIET_MS + QUIET_TIMES * waitMs
      waitMs = isQuiet ? FIRST_MS : Math.min(LONGEST_MS, waitMs * 2)
      await clock.sleep(waitMs, signal)
      const change = pending
      pending = undefined
      if (change !== undefined) await apply(change)
      appliedAt = clock.monotonic()
    }
  }

  return {
    push(change) {
      pending = change
      working ??= work()
        .catch(() => {})
        .finally(() => {
          working = undefined
        })
    },
    discard() {
      pending = undefined
    },
    async idle() {
      await working
    },
  }
}
