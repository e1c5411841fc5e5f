import { X509Certificate } from 'node:crypto'

const block = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g

/**
 * What is wrong with a text that must hold CA certificates, in words that never quote it; undefined when nothing is.
 * @param text PEM: one certificate or several, comments between them allowed
 */
export function certificatesFault(text: string): string | undefined {
  const blocks = [...text.matchAll(block)]
  if (blocks.some(([, label]) => label?.includes('PRIVATE KEY')))
    return 'holds a private key, wants certificates only'
  const certificates = blocks.filter(([, label]) => label === 'CERTIFICATE')
  if (certificates.length === 0) return 'holds no PEM certificate (-----BEGIN CERTIFICATE-----)'
  const broken = certificates.findIndex(([pem]) => !isCertificate(pem))
  return broken === -1 ? undefined : `certificate ${broken + 1} of ${certificates.length} cannot be parsed`
}

function isCertificate(pem: string): boolean {
  try {
    new X509Certificate(pem)
    return true
  } catch {
    return false
  }
}
