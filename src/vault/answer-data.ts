import { X509Certificate } from 'node:crypto'
import { isJsonObject } from '../core/json/json.ts'
import { valueToNumber } from '../core/json/value.ts'
import { readResponseData } from '../core/json/vault-response.ts'
import type { SecretData, VaultLease } from '../core/ports/vault.ts'
import { checkLeaseId, lifeMs } from './bounds.ts'
import type { Answer } from './transport.ts'

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
