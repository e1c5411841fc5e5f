/** One line of a file, without its newline; or why the key cannot be written, without its value. */
export type FormattedLine = { line: string } | { fault: string }
