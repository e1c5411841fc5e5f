import type { Facts, Fault } from '../core/faults/facts.ts'
import { FaultError } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Meter } from '../core/ports/metrics.ts'
import type { ServiceAccountToken } from '../core/ports/pod.ts'
import type { Identity } from '../core/ports/vault.ts'
import type { SecretText } from '../core/secret.ts'
import type { Connections } from './connections.ts'
import { isBareDenial, loginFault } from './login-faults.ts'
import { identityFacts } from './request.ts'
import { parseToken, type VaultToken } from './response-data.ts'
import type { Answer } from './transport.ts'

export type Login = {
  /**
   * Logs in with exactly this service-account token, or secret ID of an AppRole.
   * @throws FaultError login_*, tls, unreachable, sealed, standby, rate_limited, vault_error
   */
  login(
    identity: Identity,
    serviceAccountToken: ServiceAccountToken,
    signal: AbortSignal,
  ): Promise<VaultToken>
}

export function createLogin(deps: { connections: Connections; clock: Clock; meter: Meter }): Login {
  const { connections, clock, meter } = deps

  /**
   * Vault answers a bare "permission denied" when there is no auth method at the mount, and also when the
   * TokenReview of a kubernetes mount failed or the caller's address is not allowed. A login without role and
   * token tells them apart: an auth method names the missing field, a missing method denies again.
   */
  const isMountMissing = async (identity: Identity, signal: AbortSignal): Promise<boolean> => {
    const { endpoint, authMount, podNamespace: asker } = identity
    const parse = (answer: Answer) => answer.status === 403 || answer.status === 404
    const path = `auth/${authMount}/login`
    return connections
      .call({ operation: 'probe', asker, endpoint, method: 'POST', path, body: {}, facts: {}, parse }, signal)
      .catch(() => false)
  }

  const explainDenial = async (denied: FaultError, identity: Identity, signal: AbortSignal) => {
    if (await isMountMissing(identity, signal)) return new FaultError('login_mount', denied.facts)
    if (identity.method === 'kubernetes') return new FaultError('login_reviewer', denied.facts)
    return denied
  }

  const attempt = async (
    identity: Identity,
    serviceAccountToken: ServiceAccountToken,
    signal: AbortSignal,
  ): Promise<VaultToken> => {
    const body = loginBody(identity, serviceAccountToken.token)
    const facts = { ...('jwt' in body ? audienceOf(body.jwt) : {}), ...identityFacts(identity) }
    const startedAt = clock.monotonic()
    const parse = (answer: Answer) => {
      if (answer.status >= 300) throw loginFault(answer, clock.now(), facts)
      return parseToken(answer.body, startedAt, facts)
    }
    const { endpoint, authMount, podNamespace: asker } = identity
    const path = `auth/${authMount}/login`
    try {
      return await connections.call(
        { operation: 'login', asker, endpoint, method: 'POST', path, body, facts, parse },
        signal,
      )
    } catch (error) {
      if (!(error instanceof FaultError) || !isBareDenial(error)) throw error
      throw await explainDenial(error, identity, signal)
    }
  }

  return {
    login: async (identity, serviceAccountToken, signal) => {
      try {
        const token = await attempt(identity, serviceAccountToken, signal)
        meter.login(identity.method, 'ok')
        return token
      } catch (error) {
        meter.login(identity.method, error instanceof FaultError ? error.fault : 'aborted')
        throw error
      }
    },
  }
}

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
 * Tries the candidates one after the other for as long as the fault may lie with the token.
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
  throw first ?? new FaultError('token_missing', identityFacts(identity))
}

/** Says why there was nothing to log in with. */
export function missingFault(identity: Identity, candidates: readonly ServiceAccountToken[]): FaultError {
  return new FaultError('token_missing', {
    ...identityFacts(identity),
    reason: missingReason(identity, candidates),
  })
}

function missingReason({ method }: Identity, candidates: readonly ServiceAccountToken[]): string {
  if (method === 'approle') return 'no secret ID of the AppRole was read'
  if (candidates.length === 0) return 'kubelet passed no service-account token'
  const latest = Math.max(...candidates.map(({ expiresAt }) => expiresAt))
  return `the service-account token from kubelet expired at ${new Date(latest).toISOString()}, Vault refused it, and no newer one came`
}

function loginBody({ method, role, roleId }: Identity, token: SecretText) {
  if (method === 'approle') return { role_id: roleId ?? '', secret_id: token.reveal() }
  return { role, jwt: token.reveal() }
}

/** The audience of the service-account token, which is not a secret; for messages only. */
function audienceOf(jwt: string): Facts {
  try {
    const claims: unknown = JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString('utf8'))
    const { aud } = claims as { aud?: unknown }
    const names = (Array.isArray(aud) ? aud : [aud]).filter((name) => typeof name === 'string')
    const got = names.join(', ')
    return got === '' ? {} : { got, audience: got }
  } catch {
    return {}
  }
}
