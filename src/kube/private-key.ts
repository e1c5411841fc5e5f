import { createPrivateKey, type KeyObject } from 'node:crypto'
import { blocksOf } from '../core/pem.ts'

/** Bytes: an RSA key of 16,384 bits as PEM has 13,000. */
const LARGEST = 32 * 1024

/**
 * Algorithms that a server's key may be of, by the bytes of their OID. With DSA and DH OpenSSL raises one number to
 * the power of another when it parses a key, both as large as the author wants: 8 kB take seconds.
 */
const algorithms: ReadonlySet<string> = new Set([
  '2a864886f70d010101', // rsaEncryption
  '2a864886f70d01010a', // rsassaPss
  '2a8648ce3d0201', // ecPublicKey
  '2b6570', // Ed25519
  '2b6571', // Ed448
])

const types: ReadonlyMap<string, 'pkcs8' | 'pkcs1' | 'sec1'> = new Map([
  ['PRIVATE KEY', 'pkcs8'],
  ['RSA PRIVATE KEY', 'pkcs1'],
  ['EC PRIVATE KEY', 'sec1'],
])

/** The first private key of a PEM; undefined for none, one with a passphrase and one of an algorithm that TLS does not use. */
export function readPrivateKey(value: Buffer): KeyObject | undefined {
  if (value.byteLength > LARGEST) return undefined
  for (const { label, pem } of blocksOf(value.toString('latin1'))) {
    const type = types.get(label)
    if (type === undefined) continue
    const key = Buffer.from(pem.slice(pem.indexOf('\n'), pem.lastIndexOf('-----END')), 'base64')
    if (type === 'pkcs8' && !algorithms.has(algorithmOf(key))) return undefined
    return attempt(() => createPrivateKey({ key, format: 'der', type }))
  }
  return undefined
}

const SEQUENCE = 0x30
const INTEGER = 0x02
const OBJECT_ID = 0x06

/** PKCS#8 is SEQUENCE { INTEGER, SEQUENCE { OBJECT IDENTIFIER, … }, … }. '' when it is not. */
function algorithmOf(der: Buffer): string {
  const outer = partAt(der, 0, SEQUENCE)
  const version = partAt(der, outer.start, INTEGER)
  const algorithm = partAt(der, version.end, SEQUENCE)
  const { start, end } = partAt(der, algorithm.start, OBJECT_ID)
  return der.toString('hex', start, end)
}

/** Where the content of a DER value begins and ends; beyond the bytes where there is none of that tag. */
function partAt(der: Buffer, at: number, tag: number): { start: number; end: number } {
  const nowhere = { start: der.byteLength, end: der.byteLength }
  const first = der[at + 1] ?? 0
  if (der[at] !== tag) return nowhere
  if (first < 0x80) return { start: at + 2, end: at + 2 + first }
  const count = first - 0x80
  if (count < 1 || count > 3 || at + 2 + count > der.byteLength) return nowhere
  const start = at + 2 + count
  return { start, end: start + der.readUIntBE(at + 2, count) }
}

function attempt<T>(parse: () => T): T | undefined {
  try {
    return parse()
  } catch {
    return undefined
  }
}
