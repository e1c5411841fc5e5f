import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Polls every few milliseconds until `check` returns something other than false, null, undefined or an error.
 * @throws Error that names `what`, with the last error as its cause
 */
export async function until<T>(
  what: string,
  check: () => T | Promise<T>,
  options: { timeoutMs?: number; everyMs?: number } = {},
): Promise<NonNullable<Exclude<T, false>>> {
  const { timeoutMs = 10_000, everyMs = 10 } = options
  const deadline = performance.now() + timeoutMs
  let cause: unknown
  for (;;) {
    try {
      const found = await check()
      if (found !== false && found !== undefined && found !== null)
        return found as NonNullable<Exclude<T, false>>
    } catch (error) {
      cause = error
    }
    if (performance.now() > deadline) throw new Error(`gave up waiting for ${what}`, { cause })
    await sleep(everyMs)
  }
}
