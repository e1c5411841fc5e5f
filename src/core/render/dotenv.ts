import type { FormattedLine } from './formatted-line.ts'

/** Names that all readers take; a dot is no matter to them. */
const NAME = /^[A-Za-z_][A-Za-z0-9_.]*$/

/**
 * A line that Node's util.parseEnv, python-dotenv, Docker Compose and Ruby's dotenv read alike. They agree on little:
 * Node knows no escape of a quote, python-dotenv folds two backslashes and fills in `${…}` within single quotes too,
 * Compose and Ruby do so elsewhere, Node drops every carriage return.
 */
export function dotenvLine(key: string, text: string): FormattedLine {
  if (!NAME.test(key)) {
    return {
      fault: 'cannot be a name in a dotenv file (a letter or "_", then letters, digits, "_" and ".")',
    }
  }
  if (text.includes('\0')) return { fault: 'holds a NUL character, which no environment variable can' }
  const quoted = quote(text)
  return quoted === undefined
    ? { fault: 'has a value that readers of dotenv files do not read alike, however it is quoted' }
    : { line: `${key}=${quoted}` }
}

/** JSON in which nothing stands that dotenvLine would refuse: JSON can name those characters by number. */
export function dotenvJson(json: string): string {
  return json.replaceAll('\\\\', '\\u005c').replaceAll("'", '\\u0027').replaceAll('$', '\\u0024')
}

/** Each question is answered in one pass: a value is as large, and as odd, as who writes it wants it to be. */
function quote(text: string): string | undefined {
  // No quoting helps against what happens to these before or after the quotes are looked at.
  if (text.includes('\r') || holdsExpansion(text)) return undefined
  if (!text.includes("'") && !text.includes('\\\\') && !text.endsWith('\\')) return `'${text}'`
  if (!/["\\$]/.test(text)) return `"${text}"`
  // A bare value: both quotes are literal but at its beginning.
  const isBare = /^[^\s'"`#$\\]/.test(text) && !/[\n#$\\]/.test(text) && !/\s/.test(text.slice(-1))
  return isBare ? text : undefined
}

/** `${…}`. Where anything closes after the first that opens, that one is closed. */
function holdsExpansion(text: string): boolean {
  const opened = text.indexOf('${')
  return opened !== -1 && text.indexOf('}', opened) !== -1
}
