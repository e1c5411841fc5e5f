import { X509Certificate } from 'node:crypto'
import { readPrivateKey } from './private-key.ts'

/** What is wrong with the content of a Secret: which key, and why in words that never quote it. */
export type ContentFault = { key?: string; reason: string }

type Values = ReadonlyMap<string, Buffer>

/** By type of Secret; others may hold anything. */
const checks = new Map<string, (values: Values) => ContentFault | undefined>([
  ['kubernetes.io/tls', tlsFault],
  ['kubernetes.io/dockerconfigjson', dockerConfigFault],
  [
    'kubernetes.io/dockercfg',
    (values) => missing(values, '.dockercfg') ?? objectFault(values, '.dockercfg').fault,
  ],
  [
    'kubernetes.io/basic-auth',
    (values) =>
      values.has('username') || values.has('password')
        ? undefined
        : { reason: `type kubernetes.io/basic-auth needs key "username" or "password"` },
  ],
  ['kubernetes.io/ssh-auth', (values) => missing(values, 'ssh-privatekey')],
  // With these the API server lets somebody in: an import's author must not make any.
  [
    'kubernetes.io/service-account-token',
    () => ({ reason: 'type kubernetes.io/service-account-token is made by Kubernetes alone' }),
  ],
  [
    'bootstrap.kubernetes.io/token',
    () => ({
      reason:
        'type bootstrap.kubernetes.io/token lets machines join the cluster, and is not made from an import',
    }),
  ],
])

/** What the API server, or who uses a Secret of this type, would not take; undefined when nothing is wrong. */
export function contentFault(type: string, values: Values): ContentFault | undefined {
  return checks.get(type)?.(values)
}

function tlsFault(values: Values): ContentFault | undefined {
  const lacking = missing(values, 'tls.crt') ?? missing(values, 'tls.key')
  if (lacking !== undefined) return lacking
  const certificate = certificateOf(values.get('tls.crt'))
  if (certificate === undefined) return { key: 'tls.crt', reason: 'it is no PEM certificate' }
  const key = readPrivateKey(values.get('tls.key') ?? Buffer.alloc(0))
  if (key === undefined)
    return {
      key: 'tls.key',
      reason: 'it is no PEM private key, or one with a passphrase, or of no algorithm of TLS',
    }
  return certificate.checkPrivateKey(key)
    ? undefined
    : { key: 'tls.key', reason: 'it is not the key of the first certificate in tls.crt' }
}

function dockerConfigFault(values: Values): ContentFault | undefined {
  const key = '.dockerconfigjson'
  const lacking = missing(values, key)
  if (lacking !== undefined) return lacking
  const { fault, object } = objectFault(values, key)
  if (fault !== undefined) return fault
  return isObject(object?.auths) ? undefined : { key, reason: 'it has no object "auths"' }
}

function objectFault(
  values: Values,
  key: string,
): { fault?: ContentFault; object?: Readonly<Record<string, unknown>> } {
  try {
    const object: unknown = JSON.parse(values.get(key)?.toString('utf8') ?? '')
    return isObject(object) ? { object } : { fault: { key, reason: 'it is no JSON object' } }
  } catch {
    return { fault: { key, reason: 'it is no JSON' } }
  }
}

function missing(values: Values, key: string): ContentFault | undefined {
  return values.has(key) ? undefined : { key, reason: 'this type needs it, spec.secretSync[].data lacks it' }
}

/** The first of a chain. Node would read DER too, which nobody else of Kubernetes does. */
function certificateOf(value: Buffer | undefined): X509Certificate | undefined {
  if (!value?.includes('-----BEGIN CERTIFICATE-----')) return undefined
  return attempt(() => new X509Certificate(value))
}

function attempt<T>(parse: () => T): T | undefined {
  try {
    return parse()
  } catch {
    return undefined
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
