import type { Clock } from '../core/ports/clock.ts'
import type { Identity } from '../core/ports/vault.ts'
import { remainingMs } from '../core/schedule.ts'
import type { SecretText } from '../core/secret.ts'
import type { VaultToken } from './response-data.ts'

/** What we hold for one identity. */
export type Session = {
  readonly identity: Identity
  /** Volumes whose files come through this session. */
  readonly users: Set<string>
  /** A volume has let go of it and none has come since: with its last use the token goes. */
  isReleased: boolean
  /** Reads and refreshes under way; the token is not revoked under them. */
  active: number
  current: VaultToken | undefined
  refresh: Refresh | undefined
  readonly references: TokenReferences
  readonly denials: Denials
  /** Service-account tokens, over by our clock, that Vault refused too, and when: monotonic. */
  refusedLate: { tokens: readonly SecretText[]; at: number } | undefined
}

/** A renewal or login under way that every caller of the session waits for. */
export type Refresh = {
  result: Promise<VaultToken>
  /** Service-account tokens that it has tried. */
  tried: SecretText[]
  /** The Vault token in whose place another is wanted; undefined: any will do. */
  refused: VaultToken | undefined
}

/** A token that ends within this time is renewed even when a third of its life is left, in milliseconds. */
const NEAR_END_MS = 5_000

export function openSession(identity: Identity, parts: Pick<Session, 'references' | 'denials'>): Session {
  return {
    identity,
    ...parts,
    users: new Set(),
    isReleased: false,
    active: 0,
    current: undefined,
    refresh: undefined,
    refusedLate: undefined,
  }
}

/**
 * Whether the token has enough life left to be used as it is: a third, and some seconds, but never more than
 * half, for a token of two seconds must be usable too.
 * @param now monotonic
 */
export function isFresh(token: VaultToken, now: number): boolean {
  const life = token.durationMs
  if (life === Number.POSITIVE_INFINITY) return true
  return remainingMs(token, now) > Math.min(Math.max(life / 3, NEAR_END_MS), life / 2)
}

/** A renewed token is the same one, with another lease. */
export function isSameToken(one: VaultToken | undefined, other: VaultToken | undefined): boolean {
  return one !== undefined && other !== undefined && one.token.equals(other.token)
}

/** Which of an identity's tokens are in use: one that was replaced is revoked when the last call with it has ended. */
export type TokenReferences = {
  /** A call begins. */
  acquire(token: VaultToken): void
  /** It has ended. */
  release(token: VaultToken): void
  /** Another has taken the token's place. */
  replaced(token: VaultToken): void
}

/** @param revoke takes the token back, whenever it can */
export function createTokenReferences(revoke: (token: VaultToken) => void): TokenReferences {
  // By the text's object, which renewals hand on.
  const counts = new Map<SecretText, number>()
  const ending = new Map<SecretText, VaultToken>()

  const end = (token: VaultToken) => {
    ending.delete(token.token)
    revoke(token)
  }

  return {
    acquire({ token }) {
      counts.set(token, (counts.get(token) ?? 0) + 1)
    },
    release({ token }) {
      const count = (counts.get(token) ?? 0) - 1
      if (count > 0) {
        counts.set(token, count)
        return
      }
      counts.delete(token)
      const replaced = ending.get(token)
      if (replaced !== undefined) end(replaced)
    },
    replaced(token) {
      if (counts.has(token.token)) ending.set(token.token, token)
      else end(token)
    },
  }
}

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
