import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { isIP } from 'node:net'

// Just enough X.509 (RFC 5280) in DER for test servers: node:crypto reads certificates but makes none.

export type CertificateAuthority = {
  /** PEM. */
  certificate: string
  /** A server certificate for these DNS names and IPv4 addresses. */
  issue(names: readonly string[], options?: { notBefore?: Date; notAfter?: Date }): ServerCertificate
}

/** PEM texts. */
export type ServerCertificate = { certificate: string; key: string }

const HOUR_MS = 3_600_000

/** A fresh authority that exists in memory only. */
export function createCertificateAuthority(name = 'test CA'): CertificateAuthority {
  const keys = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const life = { notBefore: new Date(Date.now() - HOUR_MS), notAfter: new Date(Date.now() + 24 * HOUR_MS) }
  return {
    certificate: certify({
      subject: name,
      issuer: name,
      publicKey: keys.publicKey,
      signer: keys.privateKey,
      ...life,
      extensions: [basicConstraints(true)],
    }),
    issue: (names, options = {}) => {
      const own = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
      return {
        certificate: certify({
          subject: names[0] ?? 'server',
          issuer: name,
          publicKey: own.publicKey,
          signer: keys.privateKey,
          ...life,
          ...options,
          extensions: [basicConstraints(false), subjectAltName(names)],
        }),
        key: own.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      }
    },
  }
}

type Wish = {
  subject: string
  issuer: string
  publicKey: KeyObject
  signer: KeyObject
  notBefore: Date
  notAfter: Date
  extensions: Buffer[]
}

function certify(wish: Wish): string {
  // ecdsa-with-SHA256
  const algorithm = sequence(oid([0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]))
  const body = sequence(
    der(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([0x01]), randomBytes(15)])),
    algorithm,
    distinguishedName(wish.issuer),
    sequence(time(wish.notBefore), time(wish.notAfter)),
    distinguishedName(wish.subject),
    wish.publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...wish.extensions)),
  )
  const signature = sign('sha256', body, wish.signer)
  const certificate = sequence(body, algorithm, der(0x03, Buffer.from([0]), signature))
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

function basicConstraints(isAuthority: boolean): Buffer {
  const value = isAuthority ? sequence(der(0x01, Buffer.from([0xff]))) : sequence()
  return sequence(oid([0x55, 0x1d, 0x13]), der(0x01, Buffer.from([0xff])), der(0x04, value))
}

function subjectAltName(names: readonly string[]): Buffer {
  const entries = names.map((name) =>
    isIP(name) === 4 ? der(0x87, Buffer.from(name.split('.').map(Number))) : der(0x82, Buffer.from(name)),
  )
  return sequence(oid([0x55, 0x1d, 0x11]), der(0x04, sequence(...entries)))
}

function distinguishedName(commonName: string): Buffer {
  return sequence(der(0x31, sequence(oid([0x55, 0x04, 0x03]), der(0x0c, Buffer.from(commonName)))))
}

/** UTCTime: two digits of the year, good until 2049. */
function time(date: Date): Buffer {
  const digits = date.toISOString().replace(/\D/g, '').slice(2, 14)
  return der(0x17, Buffer.from(`${digits}Z`))
}

function integer(bytes: Buffer): Buffer {
  return der(0x02, bytes)
}

function oid(bytes: number[]): Buffer {
  return der(0x06, Buffer.from(bytes))
}

function sequence(...parts: Buffer[]): Buffer {
  return der(0x30, ...parts)
}

/** One tag-length-value element. */
function der(tag: number, ...parts: Buffer[]): Buffer {
  const content = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([tag, ...lengthOctets(content.length)]), content])
}

function lengthOctets(length: number): number[] {
  if (length < 0x80) return [length]
  if (length < 0x100) return [0x81, length]
  return [0x82, length >> 8, length & 0xff]
}
