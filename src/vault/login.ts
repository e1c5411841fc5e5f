import type { Facts } from '../core/faults/facts.ts'
import { FaultError } from '../core/faults/fault.ts'
import { isJsonObject } from '../core/json/json.ts'
import type { Json } from '../core/json/types.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Meter } from '../core/ports/metrics.ts'
import type { ServiceAccountToken } from '../core/ports/pod.ts'
import type { Identity } from '../core/ports/vault.ts'
import { SecretText } from '../core/secret.ts'
import { accessorOf, checkToken, lifeMs } from './bounds.ts'
import type { Connections } from './connections.ts'
import { factsOf } from './facts.ts'
import { isBareDenial, loginFault } from './login-faults.ts'
import type { Answer } from './transport.ts'

/** A Vault token as login or renewal gave it. */
export type VaultToken = {
  token: SecretText
  accessor: string
  /** When the login was made, which fixed what the token may do: monotonic, in milliseconds. */
  issuedAt: number
  /** When the lease was last given: later than issuedAt once it was renewed. */
  leasedAt: number
  /** Milliseconds; Infinity for a token that never ends. */
  leaseDurationMs: number
  renewable: boolean
  /** May do everything: never made by an auth method of Vault's own. */
  isRoot: boolean
  /** A batch token: it cannot be renewed, nor revoked. */
  isBatch: boolean
}

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
   * token tells them apart: an auth method complains of what is missing, no method denies again.
   */
  const isMountMissing = async (identity: Identity, signal: AbortSignal): Promise<boolean> => {
    const { endpoint, authMount, podNamespace: asker } = identity
    const judge = (answer: Answer) => answer.status === 403 || answer.status === 404
    const path = `auth/${authMount}/login`
    return connections
      .call({ operation: 'probe', asker, endpoint, method: 'POST', path, body: {}, facts: {}, judge }, signal)
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
    const facts = { ...('jwt' in body ? audienceOf(body.jwt) : {}), ...factsOf(identity) }
    const startedAt = clock.monotonic()
    const judge = (answer: Answer) => {
      if (answer.status >= 300) throw loginFault(answer, clock.now(), facts)
      return parseToken(answer.body, startedAt, facts)
    }
    const { endpoint, authMount, podNamespace: asker } = identity
    const path = `auth/${authMount}/login`
    try {
      return await connections.call(
        { operation: 'login', asker, endpoint, method: 'POST', path, body, facts, judge },
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

function loginBody({ method, role, roleId }: Identity, token: SecretText) {
  if (method === 'approle') return { role_id: roleId ?? '', secret_id: token.reveal() }
  return { role, jwt: token.reveal() }
}

/**
 * The `auth` part of Vault's answer.
 * @param leasedAt when Vault was asked: monotonic
 * @throws FaultError vault_error when it holds no token
 */
export function parseToken(body: Json | undefined, leasedAt: number, facts: Facts): VaultToken {
  const auth = isJsonObject(body) ? body.auth : undefined
  if (!isJsonObject(auth) || typeof auth.client_token !== 'string' || auth.client_token === '') {
    throw new FaultError('vault_error', { ...facts, reason: 'an answer to a login without a token' })
  }
  checkToken(auth.client_token, facts)
  return {
    token: new SecretText(auth.client_token),
    accessor: accessorOf(auth.accessor),
    leaseDurationMs: lifeMs(auth.lease_duration),
    renewable: auth.renewable === true,
    isRoot: [auth.policies, auth.token_policies].some(
      (policies) => Array.isArray(policies) && policies.includes('root'),
    ),
    isBatch: auth.token_type === 'batch',
    issuedAt: leasedAt,
    leasedAt,
  }
}

/** The audience that the service-account token was made for, which is no secret; for messages only. */
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
