import { FaultError } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Notifier } from '../core/ports/kubernetes.ts'
import type { Log } from '../core/ports/log.ts'
import type { KubeClient } from './client.ts'
import { type EventRef, type Notice, noticeKey, toEvent } from './event.ts'
import { createEventWriter } from './event-writer.ts'

/** The same note on the same pod is written at most once in this time. */
const REPEAT_MS = 10 * 60_000
/** The API server deletes events after an hour by default. */
const FORGET_MS = 60 * 60_000
/** In memory; beyond it the oldest are dropped. */
const MOST_SERIES = 2000
/** As client-go has it, a little tighter. */
const RATES = { pod: { burst: 10, refillMs: 5 * 60_000 }, node: { burst: 50, refillMs: 1000 } }
/** File names that a note lists; the rest is a number. */
const NAMED_FILES = 20

/** One note on one pod, which may occur again. */
type Series = {
  count: number
  /** Milliseconds since the Unix epoch, as the event has it. */
  seenAt: number
  /** Of the monotonic clock, as `writtenAt`. */
  reportedAt: number
  writtenAt: number
  /** Undefined until the API server has it. */
  event: EventRef | undefined
  /** It occurred again since it was written: a timer will update the event. */
  isDue: boolean
}

export type KubeNotifier = Notifier & {
  /** Writes pending events until `signal` aborts. Never throws. */
  close(signal: AbortSignal): Promise<void>
}

/**
 * Events on pods. Best effort: never throws, never makes its caller wait, never a flood,
 * and no call to the API server without a change.
 */
export function createKubeNotifier(deps: {
  client: KubeClient
  log: Log
  clock: Clock
  driverName: string
  nodeId: string
}): KubeNotifier {
  const { client, log, clock, driverName, nodeId } = deps
  const reported = new Map<string, Series>()
  const budget = createEventBudget(clock, RATES)
  const writer = createEventWriter({ client, log, clock })
  let isClosed = false

  function report(notice: Notice): void {
    const now = clock.monotonic()
    forgetOld(now)
    const key = noticeKey(notice)
    const series = reported.get(key) ?? {
      count: 0,
      seenAt: 0,
      reportedAt: now,
      writtenAt: -Infinity,
      event: undefined,
      isDue: false,
    }
    reported.set(key, series)
    series.count += 1
    series.seenAt = clock.now()
    series.reportedAt = now
    const waitMs = series.writtenAt + REPEAT_MS - now
    if (waitMs <= 0) write(notice, series)
    else if (!series.isDue) {
      series.isDue = true
      clock.after(waitMs, () => write(notice, series))
    }
  }

  function write(notice: Notice, series: Series): void {
    series.isDue = false
    if (isClosed || !budget.take(notice.pod.uid)) return
    series.writtenAt = clock.monotonic()
    if (series.event === undefined) create(notice, series)
    else repeat(notice, series, series.event)
  }

  function create(notice: Notice, series: Series): void {
    const { body, ...event } = toEvent(notice, { driverName, nodeId }, series.seenAt)
    writer.create(event, body, (outcome) => {
      if (outcome === 'written') series.event = event
    })
  }

  function repeat(notice: Notice, series: Series, event: EventRef): void {
    writer.repeat(event, series.count, series.seenAt, (outcome) => {
      // It expired or was deleted meanwhile: a new event replaces it.
      if (outcome !== 'gone') return
      series.event = undefined
      series.count = 1
      create(notice, series)
    })
  }

  function forgetOld(now: number): void {
    for (const [key, { reportedAt }] of reported) {
      if (now - reportedAt >= FORGET_MS || reported.size > MOST_SERIES) reported.delete(key)
    }
  }

  return {
    failed: (pod, importName, error) =>
      report({
        pod,
        type: 'Warning',
        reason: 'SecretsStoreImportFailed',
        action: 'Refresh',
        note: `${importName}: ${steadyMessage(error)}`,
      }),
    recovered: (pod, importName) =>
      report({
        pod,
        type: 'Normal',
        reason: 'SecretsStoreImportRecovered',
        action: 'Refresh',
        note: `${importName}: secrets are read again, the files are up to date`,
      }),
    rotated: (pod, importName, files) =>
      report({
        pod,
        type: 'Normal',
        reason: 'SecretsStoreImportRotated',
        action: 'Rotate',
        note: `${importName}: updated ${listed(files)}`,
      }),
    async close(signal) {
      isClosed = true
      await writer.close(signal)
    },
  }
}

/** The message without its countdown, which would make each occurrence a different event. */
function steadyMessage(error: FaultError): string {
  const { retryAfterMs: _, ...facts } = error.facts
  return new FaultError(error.fault, facts).message
}

function listed(files: readonly string[]): string {
  const shown = files.slice(0, NAMED_FILES).join(', ')
  const more = files.length - NAMED_FILES
  return more > 0 ? `${shown} and ${more} more` : shown
}

/** Writes at once, and the time until one more is allowed. */
type Rate = { burst: number; refillMs: number }

type Bucket = { tokens: number; at: number }

type EventBudget = {
  /** Takes one write for the pod; false when the pod or the node exceeds its rate. */
  take(podUid: string): boolean
}

/** A token bucket for each pod and one for the node, so that events stay few. */
function createEventBudget(clock: Pick<Clock, 'monotonic'>, rates: { pod: Rate; node: Rate }): EventBudget {
  const pods = new Map<string, Bucket>()
  let node: Bucket = { tokens: rates.node.burst, at: clock.monotonic() }

  /** A full bucket is the same as none: deleted pods do not stay here. */
  function dropFull(): void {
    for (const [uid, bucket] of pods) {
      if (filled(bucket, rates.pod, clock.monotonic()).tokens >= rates.pod.burst) pods.delete(uid)
    }
  }

  return {
    take(podUid) {
      const now = clock.monotonic()
      if (pods.size > 1000) dropFull()
      node = filled(node, rates.node, now)
      const pod = filled(pods.get(podUid) ?? { tokens: rates.pod.burst, at: now }, rates.pod, now)
      if (node.tokens < 1 || pod.tokens < 1) return false
      node.tokens -= 1
      pods.set(podUid, { ...pod, tokens: pod.tokens - 1 })
      return true
    },
  }
}

function filled({ tokens, at }: Bucket, { burst, refillMs }: Rate, now: number): Bucket {
  return { tokens: Math.min(burst, tokens + (now - at) / refillMs), at: now }
}
