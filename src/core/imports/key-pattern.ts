/** Why a pattern is not valid, or undefined. */
export function patternFault(pattern: string): string | undefined {
  try {
    new RegExp(pattern, 'u')
    return undefined
  } catch {
    return `must be a JavaScript regular expression, is ${JSON.stringify(pattern)}`
  }
}

/**
 * The keys that the pattern matches. A pattern may backtrack practically forever: call it only in the sandbox, which can
 * be stopped.
 */
export function matchKeys(pattern: string, keys: readonly string[]): ReadonlySet<string> {
  const expression = new RegExp(pattern, 'u')
  return new Set(keys.filter((key) => expression.test(key)))
}
