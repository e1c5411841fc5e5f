import { parseDuration } from '../duration.ts'
import { parseSize } from '../size.ts'

/** A setting's value, or its fault, phrased to follow "must be". */
export type Parsed<T> = { value: T } | { mustBe: string }
export type Parser<T> = (text: string) => Parsed<T>

export const nonEmpty: Parser<string> = (text) =>
  text === '' ? { mustBe: 'a text that is not empty' } : { value: text }

export const anyText: Parser<string> = (text) => ({ value: text })

export const optionalText: Parser<string | undefined> = (text) => ({ value: text === '' ? undefined : text })

export const flag: Parser<boolean> = (text) => {
  if (text === 'true') return { value: true }
  return text === 'false' ? { value: false } : { mustBe: 'true or false' }
}

export const duration: Parser<number> = (text) => {
  const ms = parseDuration(text)
  return ms ? { value: ms } : { mustBe: 'a duration above 0 such as 30s, 2m or 1m30s' }
}

export const size: Parser<number> = (text) => {
  const bytes = parseSize(text)
  return bytes ? { value: bytes } : { mustBe: 'a size above 0 such as 4Mi, 512Ki or plain bytes' }
}

export const wholeNumber: Parser<number> = (text) => {
  const isWhole = /^[1-9]\d{0,8}$/.test(text)
  return isWhole ? { value: Number(text) } : { mustBe: 'a whole number above 0' }
}

export function oneOf<const T extends string>(...choices: T[]): Parser<T> {
  return (text) => {
    const value = choices.find((choice) => choice === text)
    return value === undefined ? { mustBe: choices.join(' or ') } : { value }
  }
}

/** An http(s) address without user, query or fragment; trailing slashes are removed. */
export const address: Parser<string> = (text) => {
  const isPlain = URL.canParse(text) && /^https?:\/\/[^\s|\\?#@]+$/.test(text)
  return isPlain
    ? { value: text.replace(/\/+$/, '') }
    : { mustBe: 'http://… or https://… without user, query or fragment' }
}

export const optionalAddress: Parser<string | undefined> = (text) =>
  text === '' ? { value: undefined } : address(text)

export const addressOrAny: Parser<string> = (text) => {
  const parsed = text === '*' ? { value: text } : address(text)
  return 'value' in parsed ? parsed : { mustBe: `${parsed.mustBe}, or * for any` }
}

/** A Unix socket in gRPC's notation: unix:///path. */
export const unixEndpoint: Parser<string> = (text) =>
  /^unix:\/\/\/[^\0]+$/.test(text)
    ? { value: text }
    : { mustBe: 'unix:// and an absolute path, such as unix:///csi/csi.sock' }

const absolutePath: Parser<string> = (text) =>
  text.startsWith('/') ? { value: text } : { mustBe: 'an absolute path' }

export const absolutePathOrOff: Parser<string | undefined> = (text) => {
  const parsed = text === 'off' || text === '' ? { value: undefined } : absolutePath(text)
  return 'mustBe' in parsed ? { mustBe: `${parsed.mustBe} or off` } : parsed
}

export const driverName: Parser<string> = (text) => {
  const isName = text.length <= 63 && /^[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?$/.test(text)
  return isName
    ? { value: text }
    : { mustBe: 'at most 63 letters, digits, - and ., as the CSI specification has it' }
}

export const imports: Parser<{ kind: 'kube' } | { kind: 'dir'; path: string }> = (text) => {
  if (text === 'kube') return { value: { kind: 'kube' } }
  const path = text.startsWith('dir:') ? text.slice('dir:'.length) : ''
  return path === '' ? { mustBe: 'kube or dir:PATH' } : { value: { kind: 'dir', path } }
}

/** host:port, [v6]:port, :port for all addresses, or off. */
export const listenAddress: Parser<{ host: string; port: number } | undefined> = (text) => {
  if (text === 'off' || text === '') return { value: undefined }
  const [, v6, name, digits] = /^(?:\[([0-9a-fA-F:.%]+)\]|([^\s:[\]]*)):(\d{1,5})$/.exec(text) ?? []
  const port = Number(digits)
  if (digits === undefined || port > 65_535) return { mustBe: 'HOST:PORT, [IPV6]:PORT, :PORT or off' }
  return { value: { host: v6 ?? (name || '0.0.0.0'), port } }
}
