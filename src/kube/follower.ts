import type { FairQueue } from '../core/fair-queue.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { ApiServerHealth } from './api-server-health.ts'
import type { KubeClient } from './client.ts'
import { createDebouncer } from './debounce.ts'
import { TooLarge } from './http.ts'
import { type ImportRef, Refused, readImport } from './import-calls.ts'
import type { ValidatedImport } from './validated-import.ts'
import { parseChange, type WatchSlots, watchImport } from './watch.ts'

/** A watch that ends earlier without an event is a failure, or a broken server would be called without end. */
const SHORT_WATCH_MS = 5_000
/** Between a watch that the server ended normally and the next. */
const RENEW_MS = 200
const FIRST_RETRY_MS = 250
const LONGEST_RETRY_MS = 60_000
/** All nodes reconnect to an API server that is up again over this time. */
const RECONNECT_MS = 2_000
/** A restarted API server may not know old versions: all nodes read their imports again over this time. */
const REREAD_MS = 8_000
/** Failures to resume from the last version before the import is read again. */
const RESUMES = 3
/** Failed reads from the API server's cache before etcd is read. */
const CACHED_TRIES = 2
/** Between reads of an import that has no watch slot. */
const POLL_MS = 60_000
/** After a validation that failed, before the next one. */
const REVALIDATE_MS = 30_000

/** Follows one import from its first read on. */
export type Follower = {
  /** Resolves after the first read. @throws NotThere; Error with a one-line message */
  ready: Promise<void>
  close(): Promise<void>
}

/** The import does not exist. */
export class NotThere extends Error {}

export function followImport(deps: {
  ref: ImportRef
  validated: ValidatedImport
  client: KubeClient
  clock: Clock
  /** From 0 to under 1. */
  random: () => number
  health: ApiServerHealth
  reads: FairQueue
  watchSlots: WatchSlots
}): Follower {
  const { ref, validated, client, clock, random, health, reads, watchSlots } = deps
  const stop = new AbortController()
  const { signal } = stop
  /** The latest known one. */
  let version: string | undefined
  /** A watch may resume from `version`: no change was missed. */
  let isCurrent = false
  /** In a row, without an event between them. */
  let failures = 0
  let readFailures = 0
  /** A bookmark came after the pending change: `version` is later than the change already. */
  let isPast = false
  let lane = Promise.resolve()
  let cancelRevalidation = () => {}
  const changes = createDebouncer({ clock, signal, apply: applyChange })

  async function first(): Promise<void> {
    await health.check(signal)
    const isThere = await read(undefined).catch((error: unknown) => {
      if (!signal.aborted) health.reportFailure(error)
      throw error
    })
    if (!isThere) throw new NotThere()
  }

  /** @rereads whether the import is there */
  async function read(notOlderThan: string | undefined): Promise<boolean> {
    const task = () => readImport(client, ref, notOlderThan, signal)
    const found = await reads.run(ref.namespace, task, signal).catch((error: unknown) => {
      if (error instanceof TooLarge) return error
      throw error
    })
    health.reportSuccess()
    changes.discard()
    isCurrent = true
    readFailures = 0
    if (found instanceof TooLarge) {
      version = undefined
      validated.setFault(found.message)
      return true
    }
    version = found.resourceVersion
    await update(found.manifest)
    return found.manifest !== undefined
  }

  /** Serialized, as validation is asynchronous. */
  function update(manifest: unknown): Promise<void> {
    const updating = lane.then(async () => {
      cancelRevalidation()
      if (await validated.update(manifest, signal)) return
      cancelRevalidation = clock.after(REVALIDATE_MS, () => void revalidate())
    })
    lane = updating.catch(() => {})
    return updating
  }

  async function revalidate(): Promise<void> {
    try {
      await read(version)
    } catch {
      if (!signal.aborted) cancelRevalidation = clock.after(REVALIDATE_MS, () => void revalidate())
    }
  }

  async function applyChange(line: string): Promise<void> {
    try {
      const { manifest, resourceVersion } = parseChange(line)
      if (!isPast) version = resourceVersion
      await update(manifest)
    } catch {
      // Stopped, or not an event of the API: the import is read again before the next watch.
      isCurrent = false
    }
  }

  async function follow(): Promise<void> {
    while (!signal.aborted) {
      try {
        if (isCurrent) await watchOrPoll()
        else await reread()
      } catch (error) {
        if (signal.aborted) return
        await failed(error).catch(() => {})
      }
    }
  }

  async function reread(): Promise<void> {
    try {
      // The API server's cache holds this version or a later one: not every node must read etcd.
      await read(readFailures < CACHED_TRIES ? version : undefined)
    } catch (error) {
      // An etcd that was restored from a backup may never reach our version.
      if (error instanceof Refused && (error.status >= 500 || error.status === 410)) readFailures += 1
      throw error
    }
  }

  async function watchOrPoll(): Promise<void> {
    const release = version === undefined ? undefined : watchSlots.take(ref.namespace)
    if (version === undefined || release === undefined) {
      await clock.sleep(POLL_MS * (0.5 + random()), signal)
      isCurrent = false
      return
    }
    try {
      await watch(version)
    } finally {
      release()
    }
  }

  async function watch(from: string): Promise<void> {
    const openedAt = clock.monotonic()
    let events = 0
    for await (const event of watchImport(client, ref, from, random, signal)) {
      if (event.type === 'gone') return expired(events)
      health.reportSuccess()
      if (event.type === 'open') continue
      events += 1
      failures = 0
      isPast = event.type === 'bookmark'
      if (event.type === 'bookmark') version = event.resourceVersion
      else changes.push(event.line)
    }
    if (events === 0 && clock.monotonic() - openedAt < SHORT_WATCH_MS)
      throw new Error('the watch ended at once')
    failures = 0
    await clock.sleep(RENEW_MS * (0.5 + random() / 2), signal)
  }

  async function expired(events: number): Promise<void> {
    isCurrent = false
    if (events === 0) failures += 1
    await clock.sleep(Math.max(random() * REREAD_MS, retryMs(failures, random())), signal)
  }

  /** While the API server is down only `health` calls it. */
  async function failed(error: unknown): Promise<void> {
    failures += 1
    if (failures % RESUMES === 0) isCurrent = false
    health.reportFailure(error)
    await health.waitUntilUp(signal)
    await clock.sleep(random() * RECONNECT_MS + retryMs(failures, random()), signal)
  }

  const ready = first()
  const following = ready.then(follow, () => {})
  return {
    ready,
    async close() {
      stop.abort()
      cancelRevalidation()
      await following
      await changes.idle()
      await lane
      cancelRevalidation()
    },
  }
}

function retryMs(failures: number, random: number): number {
  if (failures === 0) return 0
  return Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** failures) * (0.5 + random / 2)
}
