import { FaultError } from '../core/faults/fault.ts'
import { isJsonObject } from '../core/json/json.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { LeaseToken, Revoked } from '../core/ports/leases.ts'
import type { Log } from '../core/ports/log.ts'
import type { Identity, VaultLease } from '../core/ports/vault.ts'
import type { Connections } from './connections.ts'
import { errorText } from './faults.ts'
import { createSend, identityFacts, type Send } from './request.ts'
import { leaseOf, parseToken } from './response-data.ts'
import type { Answer } from './transport.ts'

/**
 * Renews and revokes Vault tokens and leases: tokens shared by volumes and tokens of one lease alike.
 * A renewal is undefined when Vault refuses it, or gives too little life to be worth it.
 * @throws FaultError when Vault is unreachable or cannot do it now
 */
export type Renewal = {
  renewToken<T extends LeaseToken>(identity: Identity, token: T, signal: AbortSignal): Promise<T | undefined>
  /** Revokes the token and everything issued with it. Batch tokens cannot be revoked: 'unknown'. */
  revokeToken(identity: Identity, token: LeaseToken, signal: AbortSignal): Promise<Revoked>
  renewLease(
    identity: Identity,
    token: LeaseToken,
    lease: VaultLease,
    signal: AbortSignal,
  ): Promise<VaultLease | undefined>
  /** Revokes the lease only, for a token that cannot be revoked. */
  revokeLease(identity: Identity, token: LeaseToken, lease: VaultLease, signal: AbortSignal): Promise<Revoked>
}

export function createRenewal(deps: { connections: Connections; clock: Clock; log: Log }): Renewal {
  const { clock } = deps
  const warnings = createRevocationWarnings(deps.log)
  const sendAs = (identity: Identity, { token }: LeaseToken): Send => createSend(deps, identity, token)

  return {
    renewToken: async <T extends LeaseToken>(identity: Identity, current: T, signal: AbortSignal) => {
      if (!current.renewable) return undefined
      const startedAt = clock.monotonic()
      const renewed = await sendAs(identity, current)(
        {
          operation: 'renew',
          method: 'POST',
          path: 'auth/token/renew-self',
          body: {},
          parse: ({ body }) => parseToken(body, startedAt, identityFacts(identity)),
          parseError: (answer) => (isRenewalRefused(answer) ? { result: undefined } : undefined),
        },
        signal,
      )
      if (renewed === undefined || !isWorthIt(renewed, current)) return undefined
      const { accessor, leasedAt, durationMs, renewable } = renewed
      // The same object for the same text: references are counted by it.
      const token = renewed.token.equals(current.token) ? current.token : renewed.token
      return { ...current, token, accessor, leasedAt, durationMs, renewable }
    },

    revokeToken: async (identity, token, signal) => {
      if (token.isBatch) return 'unknown'
      const outcome = await sendAs(identity, token)<Revoked>(
        {
          operation: 'revoke',
          method: 'POST',
          path: 'auth/token/revoke-self',
          body: {},
          parse: () => 'revoked',
          parseError: (answer) => {
            if (isUnknownToken(answer)) return { result: 'unknown' }
            return isFinal(answer) ? { result: 'not-permitted' } : undefined
          },
        },
        signal,
      )
      if (outcome === 'not-permitted') warnings.report(identity, token.accessor, 'auth/token/revoke-self')
      return outcome
    },

    renewLease: async (identity, token, current, signal) => {
      if (!current.renewable) return undefined
      const startedAt = clock.monotonic()
      const renewed = await sendAs(identity, token)(
        {
          operation: 'renew',
          method: 'POST',
          path: 'sys/leases/renew',
          body: { lease_id: current.id },
          parse: (answer) => leaseOf(answer, startedAt),
          parseError: (answer) => (isRenewalRefused(answer) ? { result: undefined } : undefined),
        },
        signal,
      )
      return renewed && isWorthIt(renewed, current) ? renewed : undefined
    },

    revokeLease: async (identity, token, { id }, signal) => {
      const outcome = await sendAs(identity, token)<Revoked>(
        {
          operation: 'revoke',
          method: 'POST',
          path: 'sys/leases/revoke',
          body: { lease_id: id },
          parse: () => 'revoked',
          parseError: (answer) => {
            // A lease that has ended is a 400: "invalid lease".
            if (answer.status === 400 || answer.status === 404) return { result: 'unknown' }
            return isFinal(answer) ? { result: 'not-permitted' } : undefined
          },
        },
        signal,
      )
      // For a token that can be revoked the lease is only the second try, and the token is reported already.
      if (outcome === 'not-permitted' && token.isBatch) {
        warnings.report(identity, token.accessor, 'sys/leases/revoke')
      }
      return outcome
    },
  }
}

/** The same call again would get the same answer: 4xx other than rate limits and timeouts. */
function isFinal({ status }: Answer): boolean {
  return status === 400 || status === 403 || status === 404 || status === 405
}

/**
 * Near the maximum TTL Vault renews for less and less: then it is time for a replacement. It reports the rest of the last
 * second as 0, as it does for a life without end, which no renewal gives.
 */
function isWorthIt(renewed: { durationMs: number }, before: { durationMs: number }): boolean {
  return renewed.durationMs > before.durationMs / 2 && renewed.durationMs < Number.POSITIVE_INFINITY
}

function isRenewalRefused(answer: Answer): boolean {
  // OpenBao reports a life that has used up its maximum TTL with a 500.
  return isFinal(answer) || /\bmax TTL\b/i.test(errorText(answer))
}

/**
 * The token is revoked or has ended. For a missing policy Vault says the same in a list of one:
 * "1 error occurred: permission denied".
 */
function isUnknownToken({ status, body }: Answer): boolean {
  const errors = isJsonObject(body) && Array.isArray(body.errors) ? body.errors : []
  return status === 403 && errors.some((text) => typeof text === 'string' && UNKNOWN.test(text))
}

const UNKNOWN = /^(permission denied|bad token)$|invalid token/

/** Reports, once for each role, that its tokens may not revoke, and which policy lets them. */
type RevocationWarnings = {
  /** @param path that the policies lack */
  report(identity: Identity, accessor: string, path: 'auth/token/revoke-self' | 'sys/leases/revoke'): void
}

/** Roles remembered; beyond it a role is reported again. */
const MOST_ROLES = 1_000

function createRevocationWarnings(log: Log): RevocationWarnings {
  const reported = new Set<string>()
  return {
    report(identity, accessor, path) {
      const { endpoint, authMount, role } = identity
      const key = [endpoint.address, endpoint.namespace, authMount, role, path].join('|')
      if (reported.has(key)) return
      if (reported.size >= MOST_ROLES) reported.clear()
      reported.add(key)
      const error = new FaultError('read_denied', { ...identityFacts(identity), path, capability: 'update' })
      log.warn(
        { identity: identity.key, accessor, error },
        'vault does not let tokens of this role revoke: they end, and what was issued with them, by TTL only',
      )
    },
  }
}
