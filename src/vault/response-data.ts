import { X509Certificate } from 'node:crypto'
import type { Facts } from '../core/faults/facts.ts'
import { FaultError } from '../core/faults/fault.ts'
import { isJsonObject, jsonToNumber } from '../core/json/json.ts'
import type { Json } from '../core/json/types.ts'
import { valueToNumber } from '../core/json/value.ts'
import { readResponseData } from '../core/json/vault-response.ts'
import type { LeaseToken } from '../core/ports/leases.ts'
import type { SecretData, VaultLease } from '../core/ports/vault.ts'
import { SecretText } from '../core/secret.ts'
import type { Answer } from './transport.ts'

/** A Vault token as a login or a renewal gave it, with times by Clock.monotonic(). */
export type VaultToken = LeaseToken & {
  /** The time of the login, which fixed what the token may do; leasedAt is later once it was renewed. */
  issuedAt: number
  /** May do everything: never made by an auth method of Vault's own. */
  isRoot: boolean
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
    durationMs: lifeMs(auth.lease_duration),
    renewable: auth.renewable === true,
    isRoot: [auth.policies, auth.token_policies].some(
      (policies) => Array.isArray(policies) && policies.includes('root'),
    ),
    isBatch: auth.token_type === 'batch',
    issuedAt: leasedAt,
    leasedAt,
  }
}

/**
 * What an answer holds; undefined when it has no data.
 * @param askedAt when Vault was asked, the earliest at which a lease can have begun, by Clock.monotonic()
 */
export function answerData(answer: Answer, askedAt: number): SecretData | undefined {
  const held = answer.held ?? readResponseData(answer.body)
  const lease = leaseOf(answer, askedAt)
  return held && { ...held, ...(lease === undefined ? {} : { lease }) }
}

/** The lease of an answer; most have none. */
export function leaseOf(answer: Answer, askedAt: number): VaultLease | undefined {
  if (!isJsonObject(answer.body)) return undefined
  const { lease_id: id, lease_duration: duration, renewable } = answer.body
  if (typeof id !== 'string' || id === '') return undefined
  checkLeaseId(id)
  return {
    id,
    leasedAt: askedAt,
    durationMs: lifeMs(duration),
    renewable: renewable === true,
  }
}

/** Ended before it came, milliseconds: another one now would be no better, one after a clock or a CA was put right is. */
const ENDED_RETRY_MS = 60 * 60_000

/** When a certificate among the values ends, or is to be replaced: milliseconds since the Unix epoch. undefined for all else. */
export function certificateEnd(values: SecretData['values'], now: number): number | undefined {
  const certificate = values.get('certificate')
  if (typeof certificate !== 'string') return undefined
  const expiration = valueToNumber(values.get('expiration')) ?? Number.POSITIVE_INFINITY
  const end = Math.min(notAfter(certificate) ?? Number.POSITIVE_INFINITY, expiration * 1000)
  if (end === Number.POSITIVE_INFINITY) return undefined
  return end > now ? end : now + ENDED_RETRY_MS
}

/** @param certificate PEM, or DER in base64 as the PKI engine gives with format=der */
function notAfter(certificate: string): number | undefined {
  const isPem = certificate.includes('-----BEGIN')
  try {
    const { validTo } = new X509Certificate(isPem ? certificate : Buffer.from(certificate, 'base64'))
    const end = Date.parse(validTo)
    return Number.isNaN(end) ? undefined : end
  } catch {
    return undefined
  }
}

/** A shorter life would be renewed without a pause. Milliseconds. */
const SHORTEST_LIFE_MS = 1_000
/** Longer than any sensible TTL, in milliseconds: ten years. */
const LONGEST_LIFE_MS = 10 * 365 * 24 * 60 * 60_000
/** Characters. Vault's accessors have some 30. */
const MOST_ACCESSOR = 256
/** Characters: a path, which a call of ours may have, and some 30 more. */
const MOST_LEASE_ID = 4_096 + 256
/** Characters. Batch tokens have some hundreds; a server takes no more than this in a header. */
const MOST_TOKEN = 8 * 1024

/**
 * A lease duration in milliseconds. Vault writes 0 for a life without end; a negative or missing number means the same.
 */
function lifeMs(seconds: Json | undefined): number {
  const life = jsonToNumber(seconds) ?? 0
  if (!(life > 0)) return Number.POSITIVE_INFINITY
  return Math.min(Math.max(life * 1000, SHORTEST_LIFE_MS), LONGEST_LIFE_MS)
}

/** Cut off when too long: it is only shown. */
function accessorOf(accessor: Json | undefined): string {
  return typeof accessor === 'string' ? accessor.slice(0, MOST_ACCESSOR) : ''
}

/** A cut-off ID would be useless, and the lease store has little room. @throws FaultError vault_error */
function checkLeaseId(id: string): void {
  if (id.length > MOST_LEASE_ID) throw tooLong('a lease ID', id, {})
}

/** @throws FaultError vault_error */
function checkToken(token: string, facts: Facts): void {
  if (token.length > MOST_TOKEN) throw tooLong('a token', token, facts)
}

function tooLong(what: string, { length }: string, facts: Facts): FaultError {
  return new FaultError('vault_error', { ...facts, reason: `${what} of ${length} characters` })
}
