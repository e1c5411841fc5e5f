/** Why a pattern is none; undefined when it is one. */
export function patternFault(pattern: string): string | undefined {
  try {
    new RegExp(pattern, 'u')
    return undefined
  } catch {
    return `must be a JavaScript regular expression, is ${JSON.stringify(pattern)}`
  }
}

/**
 * Which of the keys the pattern matches. Some patterns take longer than the universe lasts: only where it can be
 * stopped.
 */
export function matchKeys(pattern: string, keys: readonly string[]): ReadonlySet<string> {
  const expression = new RegExp(pattern, 'u')
  return new Set(keys.filter((key) => expression.test(key)))
}
