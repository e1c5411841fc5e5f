import { createCollapse, waitFor } from '../core/collapse.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import type { KubeClient } from './client.ts'
import { describeError } from './failure.ts'
import { checkImportsServed } from './import-calls.ts'

const FIRST_RETRY_MS = 250
const LONGEST_RETRY_MS = 5_000
/** The same loss is told once in this time. */
const QUIET_MS = 10 * 60_000

type State = { state: 'answers' } | { state: 'away'; reason: string }

/** Whether the API server answers: found out once for all imports that are followed, by one small question at a time. */
export type Contact = {
  state(): State
  /** It has answered once since the start. */
  hasAnswered(): boolean
  /** Begins to ask. */
  start(): void
  /** Returns at once while it answers, else asks it. @throws Error in words for the operator; the signal's reason */
  reach(signal: AbortSignal): Promise<void>
  /** Resolves when it answers again. @throws the signal's reason */
  back(signal: AbortSignal): Promise<void>
  /** Somebody had an answer. */
  found(): void
  /** Somebody had none: it is asked until it answers. */
  lost(error: unknown): void
  close(): Promise<void>
}

export function createContact(deps: {
  client: KubeClient
  log: Log
  clock: Clock
  /** From 0 to under 1. */
  random: () => number
}): Contact {
  const { client, log, clock, random } = deps
  const stop = new AbortController()
  const collapse = createCollapse<void>()
  let state: State = { state: 'away', reason: 'not asked yet' }
  let hasAnswered = false
  let answering = Promise.withResolvers<void>()
  let recovering: Promise<void> | undefined
  let told = { reason: '', at: -Infinity }
  /** That it answers, if it does: at start, and after a loss that was told. */
  let isNews = true

  function ask(signal: AbortSignal): Promise<void> {
    return collapse.share(
      '',
      async (shared) => {
        try {
          await checkImportsServed(client, shared)
          found()
        } catch (error) {
          shared.throwIfAborted()
          missed(error)
          throw error
        }
      },
      signal,
    )
  }

  function found(): void {
    hasAnswered = true
    if (state.state === 'answers') return
    state = { state: 'answers' }
    if (isNews) log.info({ server: client.server }, 'API server answers')
    isNews = false
    answering.resolve()
  }

  function missed(error: unknown): void {
    const reason = describeError(error)
    if (state.state === 'answers') answering = Promise.withResolvers()
    state = { state: 'away', reason }
    const now = clock.monotonic()
    if (told.reason === reason && now - told.at < QUIET_MS) return
    told = { reason, at: now }
    isNews = true
    log.warn({ server: client.server, reason }, 'imports cannot be followed, known ones stay in force')
  }

  function recover(): void {
    recovering ??= askUntilAnswered()
      .catch(() => {})
      .finally(() => {
        recovering = undefined
        // Lost again while this one ended.
        if (state.state === 'away' && !stop.signal.aborted) recover()
      })
  }

  async function askUntilAnswered(): Promise<void> {
    for (let failures = 0; state.state === 'away'; failures += 1) {
      if (failures > 0) await clock.sleep(retryMs(failures, random()), stop.signal)
      stop.signal.throwIfAborted()
      await ask(stop.signal).catch(() => {})
    }
  }

  return {
    state: () => state,
    hasAnswered: () => hasAnswered,
    start: recover,
    async reach(signal) {
      if (state.state === 'away') await ask(AbortSignal.any([signal, stop.signal]))
    },
    async back(signal) {
      if (state.state === 'away') await waitFor(answering.promise, signal)
    },
    found,
    lost(error) {
      missed(error)
      recover()
    },
    async close() {
      stop.abort()
      await recovering
    },
  }
}

/** Spread, so that the nodes of a cluster do not come back all at once. */
function retryMs(failures: number, random: number): number {
  return Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** failures) * (0.5 + random / 2)
}
