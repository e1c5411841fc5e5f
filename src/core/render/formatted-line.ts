/** One line of a file without its newline; or why the key cannot have one, in words without its value. */
export type FormattedLine = { line: string } | { fault: string }
