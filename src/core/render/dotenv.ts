import type { FormattedLine } from './formatted-line.ts'

/** Names that all readers accept; they accept dots too. */
const NAME = /^[A-Za-z_][A-Za-z0-9_.]*$/

/**
 * A line that Node's util.parseEnv, python-dotenv, Docker Compose and Ruby's dotenv read as the same value. They differ:
 * Node cannot escape a quote and drops carriage returns; python-dotenv folds two backslashes and expands `${…}` even
 * within single quotes; Compose and Ruby do both elsewhere.
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

/** The same JSON without the characters that dotenvLine would refuse: JSON can escape them as \uXXXX. */
export function dotenvJson(json: string): string {
  return json.replaceAll('\\\\', '\\u005c').replaceAll("'", '\\u0027').replaceAll('$', '\\u0024')
}

/** Every check is one linear pass: the author of the secret chooses its length and content. */
function quote(text: string): string | undefined {
  // Readers process these before or after quotes, so that quoting does not help.
  if (text.includes('\r') || holdsExpansion(text)) return undefined
  if (!text.includes("'") && !text.includes('\\\\') && !text.endsWith('\\')) return `'${text}'`
  if (!/["\\$]/.test(text)) return `"${text}"`
  // Unquoted: quotes are literal except at the start.
  const isBare = /^[^\s'"`#$\\]/.test(text) && !/[\n#$\\]/.test(text) && !/\s/.test(text.slice(-1))
  return isBare ? text : undefined
}

/** `${…}`. If any `}` follows the first `${`, that one is closed. */
function holdsExpansion(text: string): boolean {
  const opened = text.indexOf('${')
  return opened !== -1 && text.indexOf('}', opened) !== -1
}
