import type { Facts } from '../core/faults/facts.ts'
import { FaultError } from '../core/faults/fault.ts'
import type { Call } from '../core/imports/calls.ts'
import { isJsonObject } from '../core/json/json.ts'
import type { Value } from '../core/json/value.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { IssueResponse, Issuer, Lease, LeaseToken } from '../core/ports/leases.ts'
import type { Log } from '../core/ports/log.ts'
import type { ServiceAccountToken } from '../core/ports/pod.ts'
import type { Identity, SecretData } from '../core/ports/vault.ts'
import { type Lifetime, lifetimesOf, untilRenewalMs } from '../core/schedule.ts'
import type { SecretText } from '../core/secret.ts'
import type { Connections } from './connections.ts'
import { isAllOver, isTokenFault, type Login, logInWithAny, missingFault, usable } from './login.ts'
import { readPath, refuseTokenInData } from './read.ts'
import type { Renewal } from './renewal.ts'
import { createSend, identityFacts, type Send } from './request.ts'
import { answerData, certificateEnd, type VaultToken } from './response-data.ts'
import { destroySecretId, issueSecretId, type SecretIdRequest } from './secret-ids.ts'
import type { Answer } from './transport.ts'

/** Vault or OpenBao over HTTP: leases of single volumes. */
export function createIssuer(deps: {
  connections: Connections
  login: Login
  renewal: Renewal
  clock: Clock
  log: Log
}): Issuer {
  const { login, renewal, clock, log } = deps
  const sendAs = (identity: Identity, token: SecretText): Send => createSend(deps, identity, token)

  const logIn = async (
    identity: Identity,
    tokens: readonly ServiceAccountToken[],
    signal: AbortSignal,
  ): Promise<VaultToken> => {
    const candidates = usable(tokens, [], clock.now())
    if (candidates.length === 0) throw missingFault(identity, tokens)
    try {
      return await logInWithAny(login, identity, candidates, [], signal)
    } catch (error) {
      throw isTokenFault(error) && isAllOver(tokens, clock.now()) ? missingFault(identity, tokens) : error
    }
  }

  const destroySecretIdOf = async (
    { identity, request, data }: Lease & { request: SecretIdRequest },
    token: LeaseToken,
    signal: AbortSignal,
  ): Promise<void> => {
    const sendWith = (one: SecretText) => sendAs(identity, one)
    try {
      await destroySecretId(sendWith(token.token), sendWith, request, data, signal)
    } catch (error) {
      if (!(error instanceof FaultError) || error.retry === 'soon') throw error
      // No policy permits it: the secret ID ends by its TTL, which must not keep the token from being revoked.
      log.warn({ identity: identity.key, request: request.key, error }, 'secret ID not destroyed')
    }
  }

  return {
    logIn: async (identity, tokens, signal) => {
      const { issuedAt: _, isRoot, ...token } = await logIn(identity, tokens, signal)
      if (!isRoot) return token
      // It has no end of its own.
      await renewal.revokeToken(identity, token, signal).catch(() => undefined)
      throw rootFault(identity)
    },

    issue: async (identity, token, request, signal) => {
      if (request.kind === 'call') return issueCall(deps, identity, token, request.call, signal)
      if (request.kind === 'token') return tokenIssued(token)
      return issueSecretId(sendAs(identity, token.token), request, clock.now(), signal)
    },

    renew: async (lease, signal) => {
      const { identity, request, token, vaultLease } = lease
      const due = dueParts(lease, clock)
      if (due.expiry || token === undefined) return undefined
      const renewed = due.token ? await renewal.renewToken(identity, token, signal) : token
      const renewedLease =
        vaultLease && renewed && due.vaultLease
          ? await renewal.renewLease(identity, token, vaultLease, signal)
          : vaultLease
      const isRenewed = renewed !== undefined && (vaultLease === undefined) === (renewedLease === undefined)
      if (isRenewed) return { token: renewed, vaultLease: renewedLease }
      const what = renewed === undefined ? 'token' : 'lease'
      log.debug({ identity: identity.key, request: request.key, what }, 'not renewed, to be replaced')
      return undefined
    },

    revoke: async (lease, signal) => {
      const { identity, request, token, vaultLease } = lease
      if (token === undefined) return 'unknown'
      if (request.kind === 'secret-id') await destroySecretIdOf({ ...lease, request }, token, signal)
      const outcome = await renewal.revokeToken(identity, token, signal)
      if (vaultLease === undefined || (outcome !== 'not-permitted' && !token.isBatch)) return outcome
      // The policy may permit to revoke the lease where it does not permit to revoke the token.
      const leaseOutcome = await renewal.revokeLease(identity, token, vaultLease, signal)
      return token.isBatch ? leaseOutcome : outcome
    },
  }
}

/** The parts that have used up their share of life. When none has, the caller wants all that can be renewed. */
function dueParts(lease: Lease, clock: Clock): { token: boolean; vaultLease: boolean; expiry: boolean } {
  const { token, vaultLease, expiry } = lifetimesOf(lease, clock)
  const isDue = (lives: readonly Lifetime[]) =>
    lives.some((life) => untilRenewalMs(life, lease.request.renewAt) <= 0)
  const due = { token: isDue(token), vaultLease: isDue(vaultLease), expiry: isDue(expiry) }
  if (due.token || due.vaultLease || due.expiry) return due
  return { token: true, vaultLease: true, expiry: expiry.length > 0 }
}

function rootFault(identity: Identity): FaultError {
  const { role, authMount } = identity
  return new FaultError('credential_refused', {
    ...identityFacts(identity),
    reason: 'the login gave a root token, and those are never handed on',
    setting: `give role "${role}" of auth/${authMount} policies of its own instead of root`,
  })
}

function tokenIssued({ token, accessor, durationMs, renewable }: LeaseToken): IssueResponse {
  // Vault's own way to say that a token does not end.
  const seconds = durationMs === Number.POSITIVE_INFINITY ? 0 : durationMs / 1000
  const values = new Map<string, Value>([
    ['clientToken', token.reveal()] as const,
    ['accessor', accessor] as const,
    ['leaseDuration', { json: String(seconds) }] as const,
    ['renewable', { json: String(renewable) }] as const,
  ])
  return {
    data: { values, version: undefined },
    vaultLease: undefined,
    expiresAt: undefined,
    needsToken: true,
  }
}

/**
 * What Vault makes for this call.
 * @throws FaultError read_denied, path_not_found, call_refused, …
 */
async function issueCall(
  deps: { connections: Connections; clock: Clock },
  identity: Identity,
  token: LeaseToken,
  call: Call,
  signal: AbortSignal,
): Promise<IssueResponse> {
  const askedAt = deps.clock.now()
  const { lease, ...data } = await answerTo(deps, identity, token, call, signal)
  // A stored value does not change by another request.
  const isMade = call.method !== 'GET' || lease !== undefined
  const expiresAt = isMade ? certificateEnd(data.values, askedAt) : undefined
  return { data, vaultLease: lease, expiresAt, needsToken: lease !== undefined }
}

function answerTo(
  deps: { connections: Connections; clock: Clock },
  identity: Identity,
  token: LeaseToken,
  { method, path, version, data }: Call,
  signal: AbortSignal,
): Promise<SecretData> {
  if (method === 'GET') {
    const place = version === undefined ? path : `${path}?version=${version}`
    return readPath(deps.connections, deps.clock, identity, place, token, signal)
  }
  const askedAt = deps.clock.monotonic()
  const parse = (answer: Answer, facts: Facts) => {
    const made = answerData(answer, askedAt)
    if (made !== undefined) {
      refuseTokenInData(made, token.token, facts)
      return made
    }
    throw new FaultError('call_refused', { ...facts, reason: emptyReason(answer) })
  }
  const send = createSend(deps, identity, token.token)
  return send({ operation: 'issue', method, path, body: data ?? {}, parse }, signal)
}

/** Why an answer without data cannot become files. */
function emptyReason({ body }: Answer): string {
  const { auth, wrap_info: wrapped } = isJsonObject(body) ? body : {}
  if (isJsonObject(auth)) return 'it answered with a Vault token: tokens come by spec.credentials'
  if (isJsonObject(wrapped)) return 'it answered with a wrapped value'
  return 'it answered without data'
}
