const MAX_MODE = 0o777

/**
 * Parses permission bits of a manifest. YAML 1.1 has already read the integer 0644 as 420, as kubectl does; a string such
 * as "0644" or "0o644" is octal.
 * @returns the bits, or the fault
 */
export function parseMode(value: unknown): { mode: number } | { fault: string } {
  if (typeof value === 'string') {
    if (!/^0o?[0-7]{1,4}$/.test(value))
      return {
        fault: `must be octal with a leading zero, such as "0400", is ${JSON.stringify(value.slice(0, 32))}`,
      }
    return inRange(Number.parseInt(value.replace('o', ''), 8), value)
  }
  if (typeof value === 'number' && Number.isInteger(value)) return inRange(value, String(value))
  return { fault: 'must be a whole number such as 0400, or the text "0400"' }
}

function inRange(mode: number, written: string): { mode: number } | { fault: string } {
  if (mode >= 0 && mode <= MAX_MODE) return { mode }
  const hint = /^[1-7][0-7]{2}$/.test(written)
    ? `; ${written} without a leading zero is decimal, write 0${written}`
    : ''
  return { fault: `must be between 0 and 0777 (511 decimal), is ${written}${hint}` }
}
