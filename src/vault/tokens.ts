import { waitFor } from '../core/collapse.ts'
import { toFault } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import type { ServiceAccountToken } from '../core/ports/pod.ts'
import type { Identity } from '../core/ports/vault.ts'
import { remainingMs } from '../core/schedule.ts'
import type { SecretText } from '../core/secret.ts'
import { isAllOver, isTokenFault, type Login, logInWithAny, missingFault, usable } from './login.ts'
import type { Renewal } from './renewal.ts'
import type { VaultToken } from './response-data.ts'
import {
  createDenials,
  createTokenReferences,
  isFresh,
  isIdle,
  isSameToken,
  mayReplacementHelp,
  openSession,
  type Refresh,
  refusedLately,
  type Session,
} from './session.ts'
import type { TokenRevocations } from './token-revocations.ts'

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
  /** Revokes the identity's token and forgets it: the next use logs in again. Never throws. */
  discard(identity: Identity, signal: AbortSignal): Promise<void>
  acquire(identity: Identity, volumeId: string): void
  release(identityKey: string, volumeId: string, signal: AbortSignal): Promise<void>
}

export type Access = {
  token: VaultToken
  /**
   * For a token that Vault refused for the path: another one, by a new login unless one has happened meanwhile; undefined
   * where no token would help, because this one is too young, or a new one was refused for the path recently.
   */
  replace(path: string): Promise<VaultToken | undefined>
  /** Vault refused the replacement as well. */
  deniedAgain(path: string): void
  worked(path: string): void
}

export function createTokens(deps: {
  login: Login
  renewal: Pick<Renewal, 'renewToken'>
  revocations: Pick<TokenRevocations, 'revoke'>
  clock: Clock
  log: Log
}): Tokens {
  const { login, renewal, revocations, clock, log } = deps
  const sessions = new Map<string, Session>()
  // Logins and renewals serve all callers of a session: none of these can abort them, their time limit does.
  const unaborted = new AbortController().signal

  const sessionOf = (identity: Identity): Session => {
    const existing = sessions.get(identity.key)
    if (existing) return existing
    const session = openSession(identity, {
      references: createTokenReferences((token) => void revocations.revoke(identity, token, unaborted)),
      denials: createDenials(clock),
    })
    sessions.set(identity.key, session)
    return session
  }

  /** undefined: a login is to replace the token. */
  const renewed = async (identity: Identity, current: VaultToken): Promise<VaultToken | undefined> => {
    const token = await renewal.renewToken(identity, current, unaborted).catch(toFault)
    if (token && !(token instanceof Error) && isFresh(token, clock.monotonic())) return token
    const fault = token instanceof Error ? { fault: token.fault } : {}
    log.debug({ identity: identity.key, ...fault }, 'vault token not renewed')
    return undefined
  }

  /** Renews if that may do, else logs in; without a way to log in a token is used to its end. */
  const refreshed = async (
    session: Session,
    candidates: readonly ServiceAccountToken[],
    { tried, refused }: Pick<Refresh, 'tried' | 'refused'>,
  ): Promise<VaultToken> => {
    const current = isSameToken(session.current, refused) ? undefined : session.current
    const isAlive = current !== undefined && remainingMs(current, clock.monotonic()) > 0
    if (current && isAlive && current.renewable) {
      const token = await renewed(session.identity, current)
      if (token) return token
    }
    try {
      return await logInWithAny(login, session.identity, candidates, tried, unaborted)
    } catch (error) {
      if (current && remainingMs(current, clock.monotonic()) > 0) return current
      throw error
    }
  }

  const put = (session: Session, token: VaultToken): VaultToken => {
    const before = session.current
    // A cache before Vault may answer a login with the token that we have: its uses are counted by one object.
    const next = before && isSameToken(before, token) ? { ...token, token: before.token } : token
    session.current = next
    if (before && !isSameToken(before, next)) session.references.replaced(before)
    return next
  }

  const startRefresh = (
    session: Session,
    candidates: readonly ServiceAccountToken[],
    refused: VaultToken | undefined,
  ): Refresh => {
    const tried: SecretText[] = []
    const run = async () => {
      try {
        return put(session, await refreshed(session, candidates, { tried, refused }))
      } finally {
        session.refresh = undefined
        await leave(session)
      }
    }
    session.active += 1
    const refresh = { result: run(), tried, refused }
    // With every caller gone a failure would be unhandled.
    refresh.result.catch(() => {})
    session.refresh = refresh
    return refresh
  }

  /**
   * A token with a reference to it. A refresh that fails with another caller's service-account token is retried with
   * this caller's.
   * @param refused to be replaced; it comes back where Vault gives no other
   */
  const acquireToken = async (
    session: Session,
    candidates: readonly ServiceAccountToken[],
    signal: AbortSignal,
    refused?: VaultToken,
  ): Promise<VaultToken> => {
    const denied: SecretText[] = [...refusedLately(session, clock.monotonic())]
    const { references } = session
    const left = () => usable(candidates, denied, clock.now())
    for (;;) {
      const { current } = session
      if (current && !isSameToken(current, refused) && isFresh(current, clock.monotonic()))
        return references.acquire(current)
      const refresh = session.refresh ?? startRefresh(session, left(), refused)
      try {
        const token = await waitFor(refresh.result, signal)
        // A refresh that was joined may have renewed the very token that was refused; a login made in its place that
        // brings it back, from a cache before Vault, would bring it again.
        if (!isSameToken(token, refused) || isSameToken(refresh.refused, refused))
          return references.acquire(token)
      } catch (error) {
        if (signal.aborted || !isTokenFault(error)) throw error
        denied.push(...refresh.tried)
        if (left().length > 0) continue
        const isOursOver = candidates.length > 0 && isAllOver(candidates, clock.now())
        if (error.fault !== 'token_missing' && !isOursOver) throw error
        if (refresh.tried.length > 0) session.refusedLate = { tokens: denied, at: clock.monotonic() }
        throw missingFault(session.identity, candidates)
      }
    }
  }

  const access = (
    session: Session,
    candidates: readonly ServiceAccountToken[],
    signal: AbortSignal,
    startedAt: number,
    token: VaultToken,
    used: VaultToken[],
  ): Access => ({
    token,
    replace: async (path) => {
      const times = { startedAt, now: clock.monotonic() }
      if (!mayReplacementHelp(session, token, path, times)) return undefined
      const other = await acquireToken(session, candidates, signal, token)
      used.push(other)
      if (!isSameToken(other, token)) return other
      session.denials.note(path)
      return undefined
    },
    deniedAgain: session.denials.note,
    worked: session.denials.forget,
  })

  const leave = async (session: Session): Promise<void> => {
    session.active -= 1
    if (isIdle(session)) await revoke(session, unaborted)
  }

  const revoke = async (session: Session, signal: AbortSignal): Promise<void> => {
    const { identity, current } = session
    sessions.delete(identity.key)
    session.current = undefined
    if (current) await revocations.revoke(identity, current, signal)
  }

  return {
    use: async (identity, candidates, signal, task) => {
      signal.throwIfAborted()
      const startedAt = clock.monotonic()
      const session = sessionOf(identity)
      const used: VaultToken[] = []
      session.active += 1
      try {
        const token = await acquireToken(session, candidates, signal)
        used.push(token)
        return await task(access(session, candidates, signal, startedAt, token, used))
      } finally {
        for (const token of used) session.references.release(token)
        // Not awaited: the caller has what it asked for.
        leave(session)
      }
    },
    discard: async (identity, signal) => {
      const session = sessions.get(identity.key)
      // A renewal under way would restore the revoked token.
      if (session?.refresh) await waitFor(session.refresh.result, signal).catch(() => undefined)
      const current = session?.current
      if (!session || !current) return
      session.current = undefined
      await revocations.revoke(identity, current, signal)
    },
    acquire: (identity, volumeId) => {
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
