import vm from 'node:vm'

/** Milliseconds that one pattern may take for all keys together: some patterns take longer than the universe lasts. */
const MATCH_TIMEOUT_MS = 100

/** Why a pattern is none; undefined when it is one. */
export function patternFault(pattern: string): string | undefined {
  try {
    new RegExp(pattern, 'u')
    return undefined
  } catch {
    return `must be a regular expression, is ${JSON.stringify(pattern)}`
  }
}

/**
 * Which of the keys the pattern matches; undefined when it takes too long, as a pattern with nested repetitions may:
 * its author must not hold up the pods of all others.
 */
export function matchKeys(pattern: string, keys: readonly string[]): ReadonlySet<string> | undefined {
  const code = 'const one = new RegExp(pattern, "u"); keys.filter((key) => one.test(key))'
  try {
    const matching: string[] = vm.runInNewContext(code, { pattern, keys }, { timeout: MATCH_TIMEOUT_MS })
    return new Set(matching)
  } catch {
    return undefined
  }
}
