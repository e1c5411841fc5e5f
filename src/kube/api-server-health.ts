import { createCollapse, waitFor } from '../core/collapse.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import type { KubeClient } from './client.ts'
import { describeError } from './failure.ts'
import { checkImportsServed } from './import-calls.ts'

const FIRST_RETRY_MS = 250
const LONGEST_RETRY_MS = 5_000
/** The same reason is logged once in this time. */
const QUIET_MS = 10 * 60_000

type State = { state: 'up' } | { state: 'down'; reason: string }

/** Whether the API server answers: checked once for all followed imports, with one small request at a time. */
export type ApiServerHealth = {
  state(): State
  /** It has answered at least once. */
  hasAnswered(): boolean
  /** Starts to check. */
  start(): void
  /** Returns at once while it is up, else checks. @throws Error with a one-line message; the signal's reason */
  check(signal: AbortSignal): Promise<void>
  /** Resolves when it is up. @throws the signal's reason */
  waitUntilUp(signal: AbortSignal): Promise<void>
  /** A call was answered. */
  reportSuccess(): void
  /** A call failed: the server is checked until it answers. */
  reportFailure(error: unknown): void
  close(): Promise<void>
}

export function createApiServerHealth(deps: {
  client: KubeClient
  log: Log
  clock: Clock
  /** From 0 to under 1. */
  random: () => number
}): ApiServerHealth {
  const { client, log, clock, random } = deps
  const stop = new AbortController()
  const collapse = createCollapse<void>()
  let state: State = { state: 'down', reason: 'not asked yet' }
  let hasAnswered = false
  let up = Promise.withResolvers<void>()
  let recovering: Promise<void> | undefined
  let lastLogged = { reason: '', at: -Infinity }
  /** That it answers, if it does: at start, and after a loss that was lastLogged. */
  let isNews = true

  function probe(signal: AbortSignal): Promise<void> {
    return collapse.share(
      '',
      async (shared) => {
        try {
          await checkImportsServed(client, shared)
          reportSuccess()
        } catch (error) {
          shared.throwIfAborted()
          setDown(error)
          throw error
        }
      },
      signal,
    )
  }

  function reportSuccess(): void {
    hasAnswered = true
    if (state.state === 'up') return
    state = { state: 'up' }
    if (isNews) log.info({ server: client.server }, 'API server answers')
    isNews = false
    up.resolve()
  }

  function setDown(error: unknown): void {
    const reason = describeError(error)
    if (state.state === 'up') up = Promise.withResolvers()
    state = { state: 'down', reason }
    const now = clock.monotonic()
    if (lastLogged.reason === reason && now - lastLogged.at < QUIET_MS) return
    lastLogged = { reason, at: now }
    isNews = true
    log.warn({ server: client.server, reason }, 'imports cannot be followed, known ones stay in force')
  }

  function recover(): void {
    recovering ??= checkUntilUp()
      .catch(() => {})
      .finally(() => {
        recovering = undefined
        // It went down again meanwhile.
        if (state.state === 'down' && !stop.signal.aborted) recover()
      })
  }

  async function checkUntilUp(): Promise<void> {
    for (let failures = 0; state.state === 'down'; failures += 1) {
      if (failures > 0) await clock.sleep(retryMs(failures, random()), stop.signal)
      stop.signal.throwIfAborted()
      await probe(stop.signal).catch(() => {})
    }
  }

  return {
    state: () => state,
    hasAnswered: () => hasAnswered,
    start: recover,
    async check(signal) {
      if (state.state === 'down') await probe(AbortSignal.any([signal, stop.signal]))
    },
    async waitUntilUp(signal) {
      if (state.state === 'down') await waitFor(up.promise, signal)
    },
    reportSuccess,
    reportFailure(error) {
      setDown(error)
      recover()
    },
    async close() {
      stop.abort()
      await recovering
    },
  }
}

/** Random, so that the nodes of a cluster do not reconnect all at once. */
function retryMs(failures: number, random: number): number {
  return Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** failures) * (0.5 + random / 2)
}
