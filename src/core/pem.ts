import { X509Certificate } from 'node:crypto'

/** Characters: the limit of a ConfigMap. */
const MAX_LENGTH = 1 << 20
/** An operating system ships about 150. */
const MAX_CERTIFICATES = 512
/** Characters between BEGIN or END and the closing dashes. */
const MAX_LABEL_LENGTH = 64

const BEGIN = '-----BEGIN '
const END = '-----END '
const DASHES = '-----'

/**
 * Checks a bundle of CA certificates.
 * @param text PEM: one or more certificates, with comments allowed between them
 * @returns the fault, which never quotes the text; undefined when there is none
 */
export function certificatesFault(text: string): string | undefined {
  if (text.length > MAX_LENGTH) return `must have at most ${MAX_LENGTH} characters`
  const certificates: string[] = []
  for (const { label, pem } of blocksOf(text)) {
    if (label.includes('PRIVATE KEY')) return 'holds a private key, wants certificates only'
    if (label === 'CERTIFICATE') certificates.push(pem)
    if (certificates.length > MAX_CERTIFICATES) return `must have at most ${MAX_CERTIFICATES} certificates`
  }
  if (certificates.length === 0) return 'holds no PEM certificate (-----BEGIN CERTIFICATE-----)'
  const broken = certificates.findIndex((pem) => !isCertificate(pem))
  return broken === -1 ? undefined : `certificate ${broken + 1} of ${certificates.length} cannot be parsed`
}

export type Block = { label: string; pem: string }

/** Yields each BEGIN whose next END has the same label. Linear in the length of the text, whatever it contains. */
export function* blocksOf(text: string): Generator<Block> {
  let end = -1
  for (let start = text.indexOf(BEGIN); start !== -1; ) {
    const body = start + BEGIN.length
    if (end < body) end = text.indexOf(END, body)
    if (end === -1) return
    const label = labelAt(text, body)
    const last = `${END}${label}${DASHES}`
    const isBlock = label !== undefined && text.startsWith(last, end)
    if (isBlock) yield { label, pem: text.slice(start, end + last.length) }
    start = text.indexOf(BEGIN, isBlock ? end + last.length : body)
  }
}

function labelAt(text: string, start: number): string | undefined {
  const candidate = text.slice(start, start + MAX_LABEL_LENGTH + DASHES.length)
  const label = candidate.slice(0, Math.max(candidate.indexOf(DASHES), 0))
  return /^[A-Z0-9 ]{1,64}$/.test(label) ? label : undefined
}

function isCertificate(pem: string): boolean {
  try {
    new X509Certificate(pem)
    return true
  } catch {
    return false
  }
}
