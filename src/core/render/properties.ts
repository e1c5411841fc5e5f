import type { FormattedLine } from './formatted-line.ts'

/** Control characters with a letter escape. */
const named: ReadonlyMap<string, string> = new Map([
  ['\t', 't'],
  ['\n', 'n'],
  ['\r', 'r'],
  ['\f', 'f'],
])

/**
 * A line of java.util.Properties. ASCII only, so that load(InputStream), which reads Latin-1, and load(Reader), which
 * uses the reader's charset, give the same result.
 */
export function propertiesLine(key: string, text: string): FormattedLine {
  // A blank ends a key anywhere, and is dropped at the start of a value.
  return {
    line: `${escapeText(key).replaceAll(' ', '\\ ')}=${escapeText(text).replace(/^ /, '\\ ')}`,
  }
}

/** By character code into a buffer: replacing by a pattern takes a second per megabyte when everything is escaped. */
function escapeText(text: string): string {
  if (isPlain(text)) return text
  const bytes = Buffer.allocUnsafe(text.length * MAX_ESCAPE_LENGTH)
  let end = 0
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    const second = unit > TILDE ? LETTER_U : (seconds[unit] ?? LETTER_U)
    if (second === NONE) {
      bytes[end++] = unit
      continue
    }
    bytes[end++] = BACKSLASH
    bytes[end++] = second
    if (second !== LETTER_U) continue
    for (let shift = 12; shift >= 0; shift -= 4) bytes[end++] = HEX.charCodeAt((unit >> shift) & 15)
  }
  return bytes.toString('latin1', 0, end)
}

function isPlain(text: string): boolean {
  return !/[\\=:#!]|[^ -~]/.test(text)
}

const HEX = '0123456789abcdef'
/** Bytes of \uXXXX, Java's escape of one UTF-16 code unit. */
const MAX_ESCAPE_LENGTH = 6
const BLANK = 0x20
const BACKSLASH = 0x5c
const LETTER_U = 0x75
const TILDE = 0x7e
const NONE = 0

/** The character after the backslash, by code unit up to the tilde; NONE: the unit is not escaped. */
const seconds = Array.from({ length: TILDE + 1 }, (_, unit) => {
  const character = String.fromCharCode(unit)
  if ('\\=:#!'.includes(character)) return unit
  if (unit >= BLANK) return NONE
  return named.get(character)?.charCodeAt(0) ?? LETTER_U
})
