import { runWithin } from './time-limit.ts'

/** Milliseconds that one pattern may take for all keys together: some patterns take longer than the universe lasts. */
const MATCH_TIMEOUT_MS = 100

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
 * Which of the keys the pattern matches; undefined when it takes too long, as a pattern with nested repetitions may:
 * its author must not hold up the pods of all others.
 */
export function matchKeys(pattern: string, keys: readonly string[]): ReadonlySet<string> | undefined {
  const expression = new RegExp(pattern, 'u')
  return runWithin(MATCH_TIMEOUT_MS, () => new Set(keys.filter((key) => expression.test(key))))?.value
}
