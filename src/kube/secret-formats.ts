import { X509Certificate } from 'node:crypto'
import { secretKeysFault } from '../core/imports/secret-types.ts'
import { readPrivateKey } from './private-key.ts'

/** A key of a Secret, and what is wrong with its value. The reason never quotes the value. */
export type ContentFault = { key?: string; reason: string }

type Values = ReadonlyMap<string, Buffer>

/** Values that the API server or the users of such a Secret would refuse; undefined when there are none. */
export function contentFault(type: string, values: Values): ContentFault | undefined {
  return secretKeysFault(type, [...values.keys()]) ?? formats.get(type)?.(values)
}

/** By type of Secret; the keys are there. */
const formats: ReadonlyMap<string, (values: Values) => ContentFault | undefined> = new Map([
  ['kubernetes.io/tls', tlsFault],
  ['kubernetes.io/dockerconfigjson', dockerConfigFault],
  ['kubernetes.io/dockercfg', (values: Values) => objectFault(values, '.dockercfg').fault],
])

function tlsFault(values: Values): ContentFault | undefined {
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

/** The first of a chain. PEM only: Node reads DER too, which other users of such Secrets do not. */
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
