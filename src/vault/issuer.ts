import { FaultError } from '../core/errors.ts'
import type { Holding, Issued, Issuer, OwnToken } from '../core/issued.ts'
import { parseJson } from '../core/json.ts'
import type { Clock, Identity, Log, Meter } from '../core/ports.ts'
import { renewalAt } from '../core/schedule.ts'
import type { SecretText } from '../core/secret.ts'
import { type Ask, createAsk } from './ask.ts'
import { logInWithAny, missingFault, usable } from './candidates.ts'
import type { Connections } from './connections.ts'
import { factsOf } from './facts.ts'
import { issueCall } from './issue-call.ts'
import { renewLease, revokeLease } from './lease.ts'
import { createLogin } from './login.ts'
import { renewOwnToken, revokeOwnToken, toOwnToken } from './own-token.ts'
import { destroySecretId, issueSecretId } from './secret-ids.ts'

/** Vault or OpenBao over HTTP, for what is issued to one volume alone. */
export function createIssuer(deps: {
  connections: Connections
  clock: Clock
  meter: Meter
  log: Log
}): Issuer {
  const { clock, log } = deps
  const login = createLogin(deps)
  const askAs = (identity: Identity, token: SecretText): Ask => createAsk(deps, identity, token)

  return {
    logIn: async (identity, tokens, signal) => {
      const leasedAt = clock.monotonic()
      const candidates = usable(tokens, [], clock.now())
      if (candidates.length === 0) throw missingFault(identity, tokens)
      const token = await logInWithAny(login, identity, candidates, [], signal)
      if (!token.isRoot) return { ...toOwnToken(token), leasedAt }
      // Nobody else would: it has no end.
      await revokeOwnToken(askAs(identity, token.token), signal).catch(() => undefined)
      throw rootFault(identity)
    },

    issue: async (identity, token, order, signal) => {
      const ask = askAs(identity, token.token)
      if (order.kind === 'call') {
        const leasedAt = clock.monotonic()
        const issued = await issueCall(deps, identity, token, order.call, signal)
        return { ...issued, lease: issued.lease && { ...issued.lease, leasedAt } }
      }
      if (order.kind === 'secret-id') return issueSecretId(ask, order, clock.now(), signal)
      return ownTokenIssued(token)
    },

    renew: async (holding, signal) => {
      const { identity, token, lease } = holding
      // Leases live by the clock that nobody sets.
      const now = clock.monotonic()
      const due = dueParts(holding, clock)
      if (due.end || token === undefined) return undefined
      const ask = askAs(identity, token.token)
      const longer = due.token ? await renewOwnToken(ask, identity, token, now, signal) : token
      const longerLease = lease && longer && due.lease ? await renewLease(ask, lease, now, signal) : lease
      const isKept = longer !== undefined && (lease === undefined) === (longerLease === undefined)
      if (isKept) return { token: longer, lease: longerLease }
      const what = longer === undefined ? 'token' : 'lease'
      log.debug({ identity: identity.key, order: holding.order.key, what }, 'not renewed, to be replaced')
      return undefined
    },

    revoke: async ({ identity, order, token, lease, data }, signal) => {
      if (token === undefined) return
      const ask = askAs(identity, token.token)
      if (order.kind === 'secret-id') {
        const destroyed = destroySecretId(ask, (wrapping) => askAs(identity, wrapping), order, data, signal)
        await destroyed.catch((error: unknown) => {
          if (!(error instanceof FaultError) || error.fault !== 'read_denied') throw error
          // No policy for it: it ends by its TTL, which must not keep the token from being revoked.
          log.warn({ identity: identity.key, order: order.key, error }, 'secret ID not destroyed')
        })
      }
      if (!token.isBatch) return revokeOwnToken(ask, signal)
      if (lease !== undefined) await revokeLease(ask, lease, signal)
    },
  }
}

/** What has used up its share of life. When nothing has, the caller knows better: all that can be renewed. */
function dueParts({ order, token, lease, endsAt, issuedAt }: Holding, clock: Clock) {
  const isDue = (life: { from: number; to: number }, now: number) => renewalAt(life, order.renewAt) <= now
  const isLeaseDue = (one: { leasedAt: number; durationMs: number } | undefined) =>
    one !== undefined && isDue({ from: one.leasedAt, to: one.leasedAt + one.durationMs }, clock.monotonic())
  const due = {
    end: endsAt !== undefined && isDue({ from: issuedAt, to: endsAt }, clock.now()),
    token: isLeaseDue(token),
    lease: isLeaseDue(lease),
  }
  if (due.end || due.token || due.lease) return due
  return { end: endsAt !== undefined, token: true, lease: true }
}

function rootFault(identity: Identity): FaultError {
  const { role, authMount } = identity
  return new FaultError('credential_refused', {
    ...factsOf(identity),
    reason: 'the login gave a root token, and those are never handed on',
    setting: `give role "${role}" of auth/${authMount} policies of its own instead of root`,
  })
}

function ownTokenIssued({ token, accessor, durationMs, renewable }: OwnToken): Issued {
  // Vault's own way to say that a token does not end.
  const seconds = durationMs === Number.POSITIVE_INFINITY ? 0 : durationMs / 1000
  const values = new Map([
    ['clientToken', token.reveal()] as const,
    ['accessor', accessor] as const,
    ['leaseDuration', parseJson(String(seconds))] as const,
    ['renewable', renewable] as const,
  ])
  return { data: { values, version: undefined }, lease: undefined, endsAt: undefined, needsToken: true }
}
