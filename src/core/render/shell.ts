import type { FormattedLine } from './formatted-line.ts'

/** POSIX variable names; `export` of any other name ends the shell. */
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

/** A line that any POSIX sh reads with `. FILE`, whatever the value. */
export function shellLine(key: string, text: string): FormattedLine {
  if (!NAME.test(key)) {
    return { fault: 'cannot be the name of a shell variable (a letter or "_", then letters, digits and "_")' }
  }
  if (text.includes('\0')) return { fault: 'holds a NUL character, which no shell variable can' }
  return { line: `export ${key}=${shellQuote(text)}` }
}

/** Quotes a text as one word of POSIX sh: within single quotes only the single quote is special. */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
