import type { Clock } from '../core/ports/clock.ts'

/** Paths that Vault refuses to an identity's tokens, new ones too: a login for such a path is a login for nothing. */
export type Denials = {
  /**
   * Whether it is known that a token newer than this one would be refused as well.
   * @param issuedAt when the token that was just refused was made, monotonic
   */
  isDecided(path: string, issuedAt: number): boolean
  /** A token made for this path has been refused. */
  note(path: string): void
  /** The path was read. */
  forget(path: string): void
}

/** How long after a login that did not help none is made for the path, in milliseconds: doubled for each. */
const FIRST_HOLD_MS = 60_000
const LONGEST_HOLD_MS = 10 * 60_000
/** Paths remembered for an identity; of more the ones noted first are forgotten, and cost a login again. */
const MOST_PATHS = 1_000

export function createDenials(clock: Pick<Clock, 'monotonic'>): Denials {
  const known = new Map<string, { at: number; times: number }>()

  const note = (path: string) => {
    const times = (known.get(path)?.times ?? 0) + 1
    known.delete(path)
    known.set(path, { at: clock.monotonic(), times })
    const [oldest] = known.keys()
    if (known.size > MOST_PATHS && oldest !== undefined) known.delete(oldest)
  }

  return {
    note,
    isDecided(path, issuedAt) {
      const denial = known.get(path)
      if (denial === undefined) return false
      // Another path had the token replaced: this was the try for which a login would be made.
      if (issuedAt > denial.at) {
        note(path)
        return true
      }
      const holdMs = Math.min(FIRST_HOLD_MS * 2 ** (denial.times - 1), LONGEST_HOLD_MS)
      return clock.monotonic() - denial.at < holdMs
    },
    forget: (path) => void known.delete(path),
  }
}
