import type { Clock } from '../core/ports/clock.ts'
import type { Identity } from '../core/ports/vault.ts'
import { remainingMs } from '../core/schedule.ts'
import type { SecretText } from '../core/secret.ts'
import type { VaultToken } from './response-data.ts'

/** The state of one identity: its Vault token and the users of it. */
export type Session = {
  readonly identity: Identity
  /** IDs of the volumes that use the token. */
  readonly users: Set<string>
  /** A volume has released it and none has acquired it since: the token is revoked after its last use. */
  isReleased: boolean
  /** Reads and refreshes under way; the token is not revoked under them. */
  active: number
  current: VaultToken | undefined
  refresh: Refresh | undefined
  readonly references: TokenReferences
  readonly denials: Denials
  /** Service-account tokens, expired by our clock, that Vault refused too, and when: monotonic. */
  refusedLate: { tokens: readonly SecretText[]; at: number } | undefined
}

/** A renewal or login under way that every caller of the session waits for. */
export type Refresh = {
  result: Promise<VaultToken>
  /** Service-account tokens that it has tried. */
  tried: SecretText[]
  /** The Vault token to replace; undefined: any token will do. */
  refused: VaultToken | undefined
}

/** A token this young, in milliseconds, is refused because of its policies, not because it was revoked. */
const YOUNG_MS = 10_000
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

/** How long a service-account token, expired by our clock and refused by Vault, is not tried again, in milliseconds. */
const REFUSED_LATE_MS = 10 * 60_000

/** Service-account tokens that Vault refused too, a short time ago: our clock was right about them. */
export function refusedLately({ refusedLate: late }: Session, now: number): readonly SecretText[] {
  return late !== undefined && now - late.at < REFUSED_LATE_MS ? late.tokens : []
}

/** A session that a volume has released ends when no volume and no call uses it any more. */
export function isIdle({ isReleased, users, active }: Session): boolean {
  return isReleased && users.size === 0 && active === 0
}

/**
 * Whether a new token may be allowed what Vault refused to this one for the path.
 * @param times.startedAt when the caller's use began: monotonic
 */
export function mayReplacementHelp(
  { current, denials }: Session,
  token: VaultToken,
  path: string,
  { startedAt, now }: { startedAt: number; now: number },
): boolean {
  const { issuedAt } = token
  if (!isSameToken(current, token)) return true
  if (issuedAt >= startedAt || now - issuedAt < YOUNG_MS) return false
  return !denials.isDecided(path, issuedAt)
}

/** A renewed token is the same one, with another lease. */
export function isSameToken(one: VaultToken | undefined, other: VaultToken | undefined): boolean {
  return one !== undefined && other !== undefined && one.token.equals(other.token)
}

/** Counts the calls that use each token of an identity: a replaced token is revoked when its last call has ended. */
export type TokenReferences = {
  /** A call begins. @returns the token */
  acquire(token: VaultToken): VaultToken
  /** The call has ended. */
  release(token: VaultToken): void
  /** Another token is current now. */
  replaced(token: VaultToken): void
}

/** @param revoke must not throw */
export function createTokenReferences(revoke: (token: VaultToken) => void): TokenReferences {
  // By the object of the text, which renewals keep.
  const counts = new Map<SecretText, number>()
  const ending = new Map<SecretText, VaultToken>()

  const end = (token: VaultToken) => {
    ending.delete(token.token)
    revoke(token)
  }

  return {
    acquire(one) {
      counts.set(one.token, (counts.get(one.token) ?? 0) + 1)
      return one
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

/** Paths that Vault refuses to an identity's tokens, new ones too: a login for such a path is useless. */
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

/** How long no login is made for a path after one that did not help, in milliseconds: doubled for each. */
const FIRST_HOLD_MS = 60_000
const LONGEST_HOLD_MS = 10 * 60_000
/** Paths remembered for an identity; beyond it the oldest are forgotten, and cost a login again. */
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
      // Another path had the token replaced: this was the attempt with a new token.
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
