import { waitFor } from '../core/collapse.ts'
import type { Clock, Identity, ServiceAccountToken } from '../core/ports.ts'
import type { SecretText } from '../core/secret.ts'
import { isTokenFault, logInWithAny, missingFault, usable } from './candidates.ts'
import type { Login, VaultToken } from './login.ts'
import { isFresh, isSameToken, openSession, remainingMs, type Session } from './session.ts'
import type { TokenLease } from './token-lease.ts'

/** Vault tokens: one per identity, renewed and replaced on use, never by a timer. */
export type Tokens = {
  /**
   * Runs `task` with a Vault token of the identity. The token is not revoked before it ends.
   * @param candidates service-account tokens to log in with, best first
   * @throws FaultError login_*, token_missing, and what `task` throws
   */
  use<T>(
    identity: Identity,
    candidates: readonly ServiceAccountToken[],
    signal: AbortSignal,
    task: (access: Access) => Promise<T>,
  ): Promise<T>
  /** Revokes the identity's token and forgets it: whoever uses it meanwhile logs in anew. Never throws. */
  retire(identity: Identity, signal: AbortSignal): Promise<void>
  retain(identity: Identity, volumeId: string): void
  release(identityKey: string, volumeId: string, signal: AbortSignal): Promise<void>
}

export type Access = {
  token: VaultToken
  /** Vault refused this token: another one, by a fresh login unless that has happened meanwhile; undefined when it is too young for that to help. */
  replace(): Promise<VaultToken | undefined>
}

/** A token this young, in milliseconds, is refused for what it may do, not for what became of it. */
const YOUNG_MS = 10_000

export function createTokens(deps: { login: Login; lease: TokenLease; clock: Clock }): Tokens {
  const { login, lease, clock } = deps
  const sessions = new Map<string, Session>()
  // Logins and renewals serve all callers of a session: none of these can abort them, their time limit does.
  const unaborted = new AbortController().signal

  const sessionOf = (identity: Identity): Session => {
    const existing = sessions.get(identity.key)
    if (existing) return existing
    const session = openSession(identity)
    sessions.set(identity.key, session)
    return session
  }

  /** Renews if that may do, else logs in; without a way to log in a token is used to its end. */
  const refreshed = async (
    session: Session,
    candidates: readonly ServiceAccountToken[],
    tried: SecretText[],
    refused: VaultToken | undefined,
  ): Promise<VaultToken> => {
    const current = isSameToken(session.current, refused) ? undefined : session.current
    const isAlive = current !== undefined && remainingMs(current, clock.now()) > 0
    if (current && isAlive && current.renewable) {
      const renewed = await lease.renew(session.identity, current, unaborted)
      if (renewed) return renewed
    }
    try {
      return await logInWithAny(login, session.identity, candidates, tried, unaborted)
    } catch (error) {
      if (current && remainingMs(current, clock.now()) > 0) return current
      throw error
    }
  }

  const startRefresh = (
    session: Session,
    candidates: readonly ServiceAccountToken[],
    refused: VaultToken | undefined,
  ): NonNullable<Session['refresh']> => {
    const tried: SecretText[] = []
    const run = async () => {
      try {
        const token = await refreshed(session, candidates, tried, refused)
        session.current = token
        return token
      } finally {
        session.refresh = undefined
        await leave(session)
      }
    }
    session.active += 1
    const refresh = { result: run(), tried }
    // With every caller gone nobody else would look at a failure.
    refresh.result.catch(() => {})
    session.refresh = refresh
    return refresh
  }

  /** A refresh that fails for somebody else's service-account token is tried again with one's own. */
  const acquire = async (
    session: Session,
    candidates: readonly ServiceAccountToken[],
    signal: AbortSignal,
    refused?: VaultToken,
  ): Promise<VaultToken> => {
    const denied: SecretText[] = []
    for (;;) {
      const { current } = session
      if (current && !isSameToken(current, refused) && isFresh(current, clock.now())) return current
      const refresh =
        session.refresh ?? startRefresh(session, usable(candidates, denied, clock.now()), refused)
      try {
        const token = await waitFor(refresh.result, signal)
        // The refresh that was joined may have renewed the very token that was refused.
        if (!isSameToken(token, refused)) return token
      } catch (error) {
        if (signal.aborted || !isTokenFault(error)) throw error
        denied.push(...refresh.tried)
        if (usable(candidates, denied, clock.now()).length === 0) {
          throw error.fault === 'token_missing' ? missingFault(session.identity, candidates) : error
        }
      }
    }
  }

  const access = (
    session: Session,
    candidates: readonly ServiceAccountToken[],
    signal: AbortSignal,
    startedAt: number,
    token: VaultToken,
  ): Access => ({
    token,
    replace: async () => {
      const isOurs = isSameToken(session.current, token)
      const { issuedAt } = token
      if (isOurs && (issuedAt >= startedAt || clock.now() - issuedAt < YOUNG_MS)) return undefined
      return await acquire(session, candidates, signal, token)
    },
  })

  const leave = async (session: Session): Promise<void> => {
    session.active -= 1
    if (isIdle(session)) await revoke(session, unaborted)
  }

  /** A session that was retained once ends when no volume and no call uses it any more. */
  const isIdle = (session: Session) => session.isReleased && session.users.size === 0 && session.active === 0

  const revoke = async (session: Session, signal: AbortSignal): Promise<void> => {
    const { identity, current } = session
    sessions.delete(identity.key)
    session.current = undefined
    if (current && remainingMs(current, clock.now()) > 0) await lease.revoke(identity, current, signal)
  }

  return {
    use: async (identity, candidates, signal, task) => {
      signal.throwIfAborted()
      const startedAt = clock.now()
      const session = sessionOf(identity)
      session.active += 1
      try {
        const token = await acquire(session, candidates, signal)
        return await task(access(session, candidates, signal, startedAt, token))
      } finally {
        // Not awaited: the caller has what it asked for.
        leave(session)
      }
    },
    retire: async (identity, signal) => {
      const session = sessions.get(identity.key)
      // A renewal under way would bring the revoked token back.
      if (session?.refresh) await waitFor(session.refresh.result, signal).catch(() => undefined)
      const current = session?.current
      if (!session || !current) return
      session.current = undefined
      if (remainingMs(current, clock.now()) > 0) await lease.revoke(identity, current, signal)
    },
    retain: (identity, volumeId) => {
      const session = sessionOf(identity)
      session.isReleased = false
      session.users.add(volumeId)
    },
    release: async (identityKey, volumeId, signal) => {
      const session = sessions.get(identityKey)
      if (!session) return
      session.users.delete(volumeId)
      session.isReleased = true
      if (isIdle(session)) await revoke(session, signal)
    },
  }
}
