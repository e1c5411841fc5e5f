import type { FormattedLine } from './formatted-line.ts'

/** What POSIX lets be the name of a variable; `export` of anything else ends the shell. */
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

/** A line that any POSIX sh reads by `. FILE`, however strange the value. */
export function shellLine(key: string, text: string): FormattedLine {
  if (!NAME.test(key)) {
    return { fault: 'cannot be the name of a shell variable (a letter or "_", then letters, digits and "_")' }
  }
  if (text.includes('\0')) return { fault: 'holds a NUL character, which no shell variable can' }
  return { line: `export ${key}=${shellQuote(text)}` }
}

/** A text as one word of POSIX sh: within single quotes nothing has a meaning but the single quote itself. */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
