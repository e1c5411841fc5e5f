import { isJsonObject } from '../core/json/json.ts'
import type { LeaseToken, Revoked } from '../core/ports/leases.ts'
import type { Identity } from '../core/ports/vault.ts'
import type { Ask } from './ask.ts'
import { factsOf } from './facts.ts'
import { wordsOf } from './faults.ts'
import { parseToken, type VaultToken } from './login.ts'
import type { Answer } from './transport.ts'

export function toOwnToken({
  token,
  accessor,
  leasedAt,
  leaseDurationMs,
  renewable,
  isBatch,
}: VaultToken): LeaseToken {
  return { token, accessor, leasedAt, durationMs: leaseDurationMs, renewable, isBatch }
}

/**
 * The token with a new life; undefined when Vault gives none, or none that is worth it.
 * @param now by Clock.monotonic()
 * @throws FaultError when Vault could not be asked
 */
export async function renewOwnToken(
  ask: Ask,
  identity: Identity,
  current: LeaseToken,
  now: number,
  signal: AbortSignal,
): Promise<LeaseToken | undefined> {
  if (!current.renewable) return undefined
  const renewed = await ask(
    {
      operation: 'renew',
      method: 'POST',
      path: 'auth/token/renew-self',
      body: {},
      judge: (answer) => toOwnToken(parseToken(answer.body, now, factsOf(identity))),
      refused: (answer) => (isRefusal(answer) ? { result: undefined } : undefined),
    },
    signal,
  )
  return renewed && isWorthIt(renewed, current) ? { ...renewed, isBatch: current.isBatch } : undefined
}

/**
 * Ends the token and all that hangs on it.
 * @throws FaultError when Vault could not be asked, or cannot do it now
 */
export function revokeOwnToken(ask: Ask, signal: AbortSignal): Promise<Revoked> {
  return ask<Revoked>(
    {
      operation: 'revoke',
      method: 'POST',
      path: 'auth/token/revoke-self',
      body: {},
      judge: () => 'revoked',
      refused: (answer) => {
        if (isUnknownToken(answer)) return { result: 'unknown' }
        return isFinal(answer) ? { result: 'not-permitted' } : undefined
      },
    },
    signal,
  )
}

/** Asked again, Vault would say the same: what is left of 4xx when limits and timeouts are not meant. */
export function isFinal({ status }: Answer): boolean {
  return status === 400 || status === 403 || status === 404 || status === 405
}

/**
 * Near its end Vault prolongs a life by less and less: then it is time for another. What is left of the last second it
 * calls 0, as it does for a life without end, which no renewal makes.
 */
export function isWorthIt(renewed: { durationMs: number }, before: { durationMs: number }): boolean {
  return renewed.durationMs > before.durationMs / 2 && renewed.durationMs < Number.POSITIVE_INFINITY
}

/** Vault was asked and will not: asking again would change nothing. */
export function isRefusal(answer: Answer): boolean {
  // OpenBao's words for a life that has used up its maximum come as a 500.
  return isFinal(answer) || /\bmax TTL\b/i.test(wordsOf(answer))
}

/**
 * Vault knows no such token, be it revoked or ended. For a policy that is missing it says the same in a list of one:
 * "1 error occurred: permission denied".
 */
function isUnknownToken({ status, body }: Answer): boolean {
  const errors = isJsonObject(body) && Array.isArray(body.errors) ? body.errors : []
  return status === 403 && errors.some((words) => typeof words === 'string' && UNKNOWN.test(words))
}

const UNKNOWN = /^(permission denied|bad token)$|invalid token/
