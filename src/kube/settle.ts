import type { Clock } from '../core/ports/clock.ts'

/** After a change, for those that come with it: only the last counts. */
const FIRST_MS = 200
/** Between changes taken of an import that somebody edits without end. */
const LONGEST_MS = 5_000
/** Quiet for so long, and as often as it last took, and the next change counts as the first of its kind. */
const QUIET_MS = 1_000
const QUIET_TIMES = 4

/** Takes changes that come in a burst as one: the last, a while after the first. */
export type Settling = {
  hold(change: string): void
  /** What is held is of no interest any more. */
  drop(): void
  /** Resolves when nothing is under way. */
  settled(): Promise<void>
}

/** @param deps.take must not throw */
export function createSettling(deps: {
  clock: Clock
  signal: AbortSignal
  take: (change: string) => Promise<void>
}): Settling {
  const { clock, signal, take } = deps
  let held: string | undefined
  let waitMs = FIRST_MS
  let takenAt = -Infinity
  let working: Promise<void> | undefined

  async function work(): Promise<void> {
    while (held !== undefined) {
      const isQuiet = clock.monotonic() - takenAt > QUIET_MS + QUIET_TIMES * waitMs
      waitMs = isQuiet ? FIRST_MS : Math.min(LONGEST_MS, waitMs * 2)
      await clock.sleep(waitMs, signal)
      const change = held
      held = undefined
      if (change !== undefined) await take(change)
      takenAt = clock.monotonic()
    }
  }

  return {
    hold(change) {
      held = change
      working ??= work()
        .catch(() => {})
        .finally(() => {
          working = undefined
        })
    },
    drop() {
      held = undefined
    },
    async settled() {
      await working
    },
  }
}
