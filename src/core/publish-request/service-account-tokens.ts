import type { ServiceAccountToken } from '../ports/pod.ts'
import { SecretText } from '../secret.ts'

/** Key of kubelet's service-account tokens, in `secrets` (from 1.35 on) or in volume_context. */
export const TOKENS_KEY = 'csi.storage.k8s.io/serviceAccount.tokens'

/**
 * Parses kubelet's `{"<audience>":{"token":"…","expirationTimestamp":"RFC 3339"}}`.
 * @param text undefined or '' when kubelet passes no tokens: the result is empty
 * @returns the tokens by audience, and the faults of the others, which never quote the text
 */
export function parseServiceAccountTokens(text: string | undefined): {
  tokens: ReadonlyMap<string, ServiceAccountToken>
  faults: readonly string[]
} {
  if (!text) return { tokens: new Map(), faults: [] }
  const byAudience = parseObject(text)
  if (!byAudience) return { tokens: new Map(), faults: [`${TOKENS_KEY} is not a JSON object`] }

  const tokens = new Map<string, ServiceAccountToken>()
  const faults: string[] = []
  for (const [audience, entry] of Object.entries(byAudience)) {
    const parsed = parseToken(entry)
    if (typeof parsed === 'string')
      faults.push(`${TOKENS_KEY}: the token for audience "${audience}" has ${parsed}`)
    else tokens.set(audience, parsed)
  }
  return { tokens, faults }
}

/** The token, or its fault. */
function parseToken(entry: unknown): ServiceAccountToken | string {
  const { token, expirationTimestamp } = isObject(entry) ? entry : {}
  if (typeof token !== 'string' || token === '') return 'no text in field token'
  const expiresAt = typeof expirationTimestamp === 'string' ? Date.parse(expirationTimestamp) : Number.NaN
  if (Number.isNaN(expiresAt)) return 'no time in field expirationTimestamp'
  return { token: new SecretText(token), expiresAt }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : undefined
  } catch {
    // The SyntaxError quotes the text, which contains tokens: do not pass it on.
    return undefined
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
