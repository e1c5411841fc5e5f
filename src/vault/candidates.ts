import type { Fault } from '../core/faults/facts.ts'
import { FaultError } from '../core/faults/fault.ts'
import type { ServiceAccountToken } from '../core/ports/pod.ts'
import type { Identity } from '../core/ports/vault.ts'
import type { SecretText } from '../core/secret.ts'
import { factsOf } from './facts.ts'
import type { Login, VaultToken } from './login.ts'

/** Faults that another service-account token may not have. */
const tokenFaults: readonly Fault[] = ['login_denied', 'login_reviewer', 'login_audience', 'token_missing']

export function isTokenFault(error: unknown): error is FaultError {
  return error instanceof FaultError && tokenFaults.includes(error.fault)
}

/**
 * The tokens to log in with, best first, without those in `refused`: those that Kubernetes still vouches for; where all
 * are over by our clock, all the same, for it may be wrong, and Vault decides.
 * @param now milliseconds since the Unix epoch
 */
export function usable(
  tokens: readonly ServiceAccountToken[],
  refused: readonly SecretText[],
  now: number,
): ServiceAccountToken[] {
  const tried = isAllOver(tokens, now) ? tokens : tokens.filter(({ expiresAt }) => expiresAt > now)
  return tried.filter(({ token }) => !refused.some((other) => other.equals(token)))
}

/** Whether no token is good by our clock. @param now milliseconds since the Unix epoch */
export function isAllOver(tokens: readonly ServiceAccountToken[], now: number): boolean {
  return tokens.every(({ expiresAt }) => expiresAt <= now)
}

/**
 * Tries the candidates in turn for as long as the fault may lie with the token.
 * @param tried what was tried is added to it
 * @throws FaultError of the first
 */
export async function logInWithAny(
  login: Login,
  identity: Identity,
  candidates: readonly ServiceAccountToken[],
  tried: SecretText[],
  signal: AbortSignal,
): Promise<VaultToken> {
  let first: unknown
  for (const candidate of candidates) {
    tried.push(candidate.token)
    try {
      return await login.login(identity, candidate, signal)
    } catch (error) {
      first ??= error
      if (!isTokenFault(error)) break
    }
  }
  throw first ?? new FaultError('token_missing', factsOf(identity))
}

/** Says why there was nothing to log in with. */
export function missingFault(identity: Identity, candidates: readonly ServiceAccountToken[]): FaultError {
  return new FaultError('token_missing', {
    ...factsOf(identity),
    reason: missingReason(identity, candidates),
  })
}

function missingReason({ method }: Identity, candidates: readonly ServiceAccountToken[]): string {
  if (method === 'approle') return 'no secret ID of the AppRole was read'
  if (candidates.length === 0) return 'kubelet passed no service-account token'
  const latest = Math.max(...candidates.map(({ expiresAt }) => expiresAt))
  return `the service-account token from kubelet expired at ${new Date(latest).toISOString()}, Vault refused it, and no newer one came`
}
