import type { Identity } from '../core/ports/vault.ts'
import type { SecretText } from '../core/secret.ts'
import type { Denials } from './denials.ts'
import type { VaultToken } from './login.ts'
import type { TokenUses } from './token-uses.ts'

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
  readonly uses: TokenUses
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

export function openSession(identity: Identity, parts: Pick<Session, 'uses' | 'denials'>): Session {
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
 * Milliseconds until Vault forgets the token; negative when it has.
 * @param now monotonic
 */
export function remainingMs(token: VaultToken, now: number): number {
  return token.leasedAt + token.leaseDurationMs - now
}

/**
 * Whether the token has enough life left to be used as it is: a third, and some seconds, but never more than
 * half, for a token of two seconds must be usable too.
 * @param now monotonic
 */
export function isFresh(token: VaultToken, now: number): boolean {
  const life = token.leaseDurationMs
  if (life === Number.POSITIVE_INFINITY) return true
  return remainingMs(token, now) > Math.min(Math.max(life / 3, NEAR_END_MS), life / 2)
}

/** A renewed token is the same one, with another lease. */
export function isSameToken(one: VaultToken | undefined, other: VaultToken | undefined): boolean {
  return one !== undefined && other !== undefined && one.token.equals(other.token)
}
