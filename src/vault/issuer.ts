import { FaultError } from '../core/faults/fault.ts'
import type { Value } from '../core/json/value.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { IssueResponse, Issuer, Lease, LeaseToken } from '../core/ports/leases.ts'
import type { Log } from '../core/ports/log.ts'
import type { Meter } from '../core/ports/metrics.ts'
import type { ServiceAccountToken } from '../core/ports/pod.ts'
import type { Identity, VaultLease } from '../core/ports/vault.ts'
import { renewalAt } from '../core/schedule.ts'
import type { SecretText } from '../core/secret.ts'
import { type Ask, createAsk } from './ask.ts'
import { isAllOver, isTokenFault, logInWithAny, missingFault, usable } from './candidates.ts'
import type { Connections } from './connections.ts'
import { factsOf } from './facts.ts'
import { issueCall } from './issue-call.ts'
import { renewLease, revokeLease } from './lease.ts'
import { createLogin, type VaultToken } from './login.ts'
import { renewOwnToken, revokeOwnToken, toOwnToken } from './own-token.ts'
import { destroySecretId, issueSecretId, type SecretIdOrder } from './secret-ids.ts'
import { createUnrevocable } from './unrevocable.ts'

/** Vault or OpenBao over HTTP, for what is issued to one volume alone. */
export function createIssuer(deps: {
  connections: Connections
  clock: Clock
  meter: Meter
  log: Log
}): Issuer {
  const { clock, log } = deps
  const login = createLogin(deps)
  const unrevocable = createUnrevocable(log)
  const askAs = (identity: Identity, token: SecretText): Ask => createAsk(deps, identity, token)

  const logInOwn = async (
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

  const destroyed = async (
    ask: Ask,
    { identity, request, data }: Lease & { request: SecretIdOrder },
    signal: AbortSignal,
  ): Promise<void> => {
    try {
      await destroySecretId(ask, (wrapping) => askAs(identity, wrapping), request, data, signal)
    } catch (error) {
      if (!(error instanceof FaultError) || error.retry === 'soon') throw error
      // No policy for it: it ends by its TTL, which must not keep the token from being revoked.
      log.warn({ identity: identity.key, request: request.key, error }, 'secret ID not destroyed')
    }
  }

  return {
    logIn: async (identity, tokens, signal) => {
      const token = await logInOwn(identity, tokens, signal)
      if (!token.isRoot) return toOwnToken(token)
      // Nobody else would: it has no end.
      await revokeOwnToken(askAs(identity, token.token), signal).catch(() => undefined)
      throw rootFault(identity)
    },

    issue: async (identity, token, request, signal) => {
      const ask = askAs(identity, token.token)
      if (request.kind === 'call') return issueCall(deps, identity, token, request.call, signal)
      if (request.kind === 'secret-id') return issueSecretId(ask, request, clock.now(), signal)
      return ownTokenIssued(token)
    },

    renew: async (holding, signal) => {
      const { identity, token, vaultLease } = holding
      const now = clock.monotonic()
      const due = dueParts(holding, clock)
      if (due.end || token === undefined) return undefined
      const ask = askAs(identity, token.token)
      const longer = due.token ? await renewOwnToken(ask, identity, token, now, signal) : token
      const longerLease =
        vaultLease && longer && due.lease ? await renewLease(ask, vaultLease, now, signal) : vaultLease
      const isKept = longer !== undefined && (vaultLease === undefined) === (longerLease === undefined)
      if (isKept) return { token: longer, vaultLease: longerLease }
      const what = longer === undefined ? 'token' : 'lease'
      log.debug({ identity: identity.key, request: holding.request.key, what }, 'not renewed, to be replaced')
      return undefined
    },

    revoke: async (holding, signal) => {
      const { identity, request, token, vaultLease } = holding
      if (token === undefined) return 'unknown'
      const ask = askAs(identity, token.token)
      if (request.kind === 'secret-id') await destroyed(ask, { ...holding, request }, signal)
      const endLease = async (ended: VaultLease) => {
        const outcome = await revokeLease(ask, ended, signal)
        if (outcome === 'not-permitted') unrevocable.tell(identity, token.accessor, 'sys/leases/revoke')
        return outcome
      }
      if (token.isBatch) return vaultLease === undefined ? 'unknown' : endLease(vaultLease)
      const outcome = await revokeOwnToken(ask, signal)
      if (outcome !== 'not-permitted') return outcome
      unrevocable.tell(identity, token.accessor, 'auth/token/revoke-self')
      // What was made can end all the same where the policy is for that.
      if (vaultLease !== undefined) await revokeLease(ask, vaultLease, signal)
      return outcome
    },
  }
}

/** What has used up its share of life. When nothing has, the caller knows better: all that can be renewed. */
function dueParts({ request, token, vaultLease, expiresAt, issuedAt }: Lease, clock: Clock) {
  const isDue = (life: { from: number; to: number }, now: number) => renewalAt(life, request.renewAt) <= now
  const isLeaseDue = (one: { leasedAt: number; durationMs: number } | undefined) =>
    one !== undefined && isDue({ from: one.leasedAt, to: one.leasedAt + one.durationMs }, clock.monotonic())
  const due = {
    end: expiresAt !== undefined && isDue({ from: issuedAt, to: expiresAt }, clock.now()),
    token: isLeaseDue(token),
    lease: isLeaseDue(vaultLease),
  }
  if (due.end || due.token || due.lease) return due
  return { end: expiresAt !== undefined, token: true, lease: true }
}

function rootFault(identity: Identity): FaultError {
  const { role, authMount } = identity
  return new FaultError('credential_refused', {
    ...factsOf(identity),
    reason: 'the login gave a root token, and those are never handed on',
    setting: `give role "${role}" of auth/${authMount} policies of its own instead of root`,
  })
}

function ownTokenIssued({ token, accessor, durationMs, renewable }: LeaseToken): IssueResponse {
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
