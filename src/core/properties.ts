import type { FormattedLine } from './formatted-line.ts'

/**
 * A line of java.util.Properties. Plain ASCII, so that it is the same to load(InputStream), which takes bytes for
 * Latin-1, and to load(Reader), which takes them for what it is told.
 */
export function propertiesLine(key: string, text: string): FormattedLine {
  // A blank ends a key wherever it stands, and is dropped at the beginning of a value.
  return {
    line: `${escapeText(key).replaceAll(' ', '\\ ')}=${escapeText(text).replace(/^ /, '\\ ')}`,
  }
}

function escapeText(text: string): string {
  return text.replaceAll(/[\\=:#!]|[^ -~]/g, (found) => named[found] ?? escapeUnits(found))
}

const named: Readonly<Record<string, string>> = { '\t': '\\t', '\n': '\\n', '\r': '\\r', '\f': '\\f' }

/** Java reads \uXXXX as a UTF-16 unit: a character beyond them is two. */
function escapeUnits(unit: string): string {
  return /[\\=:#!]/.test(unit) ? `\\${unit}` : `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
}
