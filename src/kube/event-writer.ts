import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import type { Answer, KubeClient } from './client.ts'
import { type EventRef, toSeries } from './event.ts'
import { describeAnswer, describeError, isPassing } from './failure.ts'
import type { Call } from './http.ts'

/** Events queued while the API server is down; more are dropped. */
const LONGEST_QUEUE = 256
/** Older events are dropped. */
const OLDEST_MS = 10 * 60_000
const FIRST_RETRY_MS = 1000
const LONGEST_RETRY_MS = 60_000
/** The same reason for a lost event is logged once in this time. */
const QUIET_MS = 10 * 60_000

/** gone: the event to repeat does not exist any more. lost: refused, too old, or beyond the queue. */
export type Outcome = 'written' | 'gone' | 'lost'

export type EventWriter = {
  create(event: EventRef, body: object, done: (outcome: Outcome) => void): void
  repeat(event: EventRef, count: number, at: number, done: (outcome: Outcome) => void): void
  /** Writes queued events until `signal` aborts. Never throws. */
  close(signal: AbortSignal): Promise<void>
}

type Job = { call: Call; queuedAt: number; done: (outcome: Outcome) => void }

/** Writes events in the background, one at a time. */
export function createEventWriter(deps: { client: KubeClient; log: Log; clock: Clock }): EventWriter {
  const { client, log, clock } = deps
  const queue: Job[] = []
  const stop = new AbortController()
  let working: Promise<void> | undefined
  let lastLogged = { reason: '', at: -Infinity }

  function enqueue(call: Call, done: (outcome: Outcome) => void): void {
    if (stop.signal.aborted) return
    const job = { call, queuedAt: clock.monotonic(), done }
    if (queue.length >= LONGEST_QUEUE) {
      lose(job, 'too many events wait')
      return
    }
    queue.push(job)
    working ??= work().finally(() => {
      working = undefined
    })
  }

  async function work(): Promise<void> {
    for (let job = queue[0]; job !== undefined; job = queue[0]) {
      await write(job)
      queue.shift()
      if (stop.signal.aborted) queue.length = 0
    }
  }

  async function write(job: Job): Promise<void> {
    for (let tries = 0; ; tries += 1) {
      const reason = await attempt(job)
      if (reason === undefined) return
      if (stop.signal.aborted || clock.monotonic() - job.queuedAt >= OLDEST_MS) {
        lose(job, reason)
        return
      }
      const delayMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** tries)
      await clock.sleep(delayMs, stop.signal).catch(() => {})
    }
  }

  /** @returns undefined when the job is done, else the reason to retry */
  async function attempt(job: Job): Promise<string | undefined> {
    try {
      const answer = await client.call(job.call, stop.signal)
      if (isPassing(answer) || answer.status === 401) return describeAnswer(answer)
      finish(job, answer)
    } catch (error) {
      return describeError(error)
    }
    return undefined
  }

  function finish(job: Job, answer: Answer): void {
    const isCreate = job.call.method === 'POST'
    // 409: an earlier attempt succeeded, but its answer was lost.
    if (answer.status < 300 || (isCreate && answer.status === 409)) job.done('written')
    else if (!isCreate && answer.status === 404) job.done('gone')
    else lose(job, describeAnswer(answer))
  }

  function lose(job: Job, reason: string): void {
    job.done('lost')
    const now = clock.monotonic()
    if (reason === lastLogged.reason && now - lastLogged.at < QUIET_MS) return
    lastLogged = { reason, at: now }
    log.warn({ reason }, 'an event on a pod was not written')
  }

  return {
    create: ({ namespace }, body, done) => enqueue({ method: 'POST', path: pathOf(namespace), body }, done),
    repeat: ({ namespace, name }, count, at, done) =>
      enqueue(
        {
          method: 'PATCH',
          path: `${pathOf(namespace)}/${encodeURIComponent(name)}`,
          body: toSeries(count, at),
          contentType: 'application/merge-patch+json',
        },
        done,
      ),
    async close(signal) {
      const onAbort = () => stop.abort()
      if (signal.aborted) onAbort()
      signal.addEventListener('abort', onAbort, { once: true })
      await working
      stop.abort()
      signal.removeEventListener('abort', onAbort)
    },
  }
}

function pathOf(namespace: string): string {
  return `/apis/events.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/events`
}
