import type { FairQueue } from '../core/fair-queue.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { KubeClient } from './client.ts'
import type { Contact } from './contact.ts'
import { type ImportRef, Refused, readImport } from './import-calls.ts'

import type { Places } from './places.ts'
import { createSettling } from './settle.ts'
import { TooLarge } from './stream.ts'
import type { ValidatedImport } from './validated-import.ts'
import { parseChange, watchImport } from './watch.ts'

/** A watch that lived for less without a word is a failure, or an ill server would be asked without end. */
const SHORT_WATCH_MS = 5_000
/** Between a watch that the server ended in good order and the next. */
const RENEW_MS = 200
const FIRST_RETRY_MS = 250
const LONGEST_RETRY_MS = 60_000
/** All that are followed, on all nodes, come back to an API server that was away: over so long a time. */
const BACK_MS = 2_000
/** An API server that was restarted has forgotten versions, and all are read again: over so long a time. */
const REREAD_MS = 8_000
/** Watches that may fail to go on from the last version before the import is read again. */
const RESUMES = 3
/** Times that the API server's memory may fail to answer before etcd is asked. */
const TRIES_OF_MEMORY = 2
/** Between looks at an import for which there is no watch. */
const LOOK_MS = 60_000
/** After a validation that failed, before the next one. */
const REVALIDATE_MS = 30_000

/** Follows one import from its first reading on. */
export type Follower = {
  /** Settles with the first reading. @throws NotThere; Error in words for the operator */
  ready: Promise<void>
  close(): Promise<void>
}

/** There is no such import, so there is nothing to follow. */
export class NotThere extends Error {}

export function followImport(deps: {
  ref: ImportRef
  validated: ValidatedImport
  client: KubeClient
  clock: Clock
  /** From 0 to under 1. */
  random: () => number
  contact: Contact
  reads: FairQueue
  places: Places
}): Follower {
  const { ref, validated, client, clock, random, contact, reads, places } = deps
  const stop = new AbortController()
  const { signal } = stop
  /** Last heard of. */
  let version: string | undefined
  /** A watch may go on from `version`: nothing was missed. */
  let isCurrent = false
  /** In a row, without a sign of life between them. */
  let failures = 0
  let readFailures = 0
  /** A bookmark came after the change that is held: the version is past it already. */
  let isPast = false
  let lane = Promise.resolve()
  let cancelRevalidation = () => {}
  const changes = createSettling({ clock, signal, take: takeChange })

  async function first(): Promise<void> {
    await contact.reach(signal)
    const isThere = await read(undefined).catch((error: unknown) => {
      if (!signal.aborted) contact.lost(error)
      throw error
    })
    if (!isThere) throw new NotThere()
  }

  /** @rereads whether the import is there */
  async function read(notOlderThan: string | undefined): Promise<boolean> {
    const look = () => readImport(client, ref, notOlderThan, signal)
    const found = await reads.run(ref.namespace, look, signal).catch((error: unknown) => {
      if (error instanceof TooLarge) return error
      throw error
    })
    contact.found()
    changes.drop()
    isCurrent = true
    readFailures = 0
    if (found instanceof TooLarge) {
      version = undefined
      validated.setFault(found.message)
      return true
    }
    version = found.resourceVersion
    await take(found.manifest)
    return found.manifest !== undefined
  }

  /** One after the other, for judging takes its time. */
  function take(manifest: unknown): Promise<void> {
    const taking = lane.then(async () => {
      cancelRevalidation()
      if (await validated.update(manifest, signal)) return
      cancelRevalidation = clock.after(REVALIDATE_MS, () => void revalidate())
    })
    lane = taking.catch(() => {})
    return taking
  }

  async function revalidate(): Promise<void> {
    try {
      await read(version)
    } catch {
      if (!signal.aborted) cancelRevalidation = clock.after(REVALIDATE_MS, () => void revalidate())
    }
  }

  async function takeChange(line: string): Promise<void> {
    try {
      const { manifest, resourceVersion } = parseChange(line)
      if (!isPast) version = resourceVersion
      await take(manifest)
    } catch {
      // Stopped, or no event of the API: then the next watch is from where we know.
      isCurrent = false
    }
  }

  async function follow(): Promise<void> {
    while (!signal.aborted) {
      try {
        if (isCurrent) await hear()
        else await reread()
      } catch (error) {
        if (signal.aborted) return
        await failed(error).catch(() => {})
      }
    }
  }

  async function reread(): Promise<void> {
    try {
      // What is not older than what we had is in the API server's memory: so many nodes must not all ask etcd.
      await read(readFailures < TRIES_OF_MEMORY ? version : undefined)
    } catch (error) {
      // An etcd that was restored from a backup never comes to our version.
      if (error instanceof Refused && (error.status >= 500 || error.status === 410)) readFailures += 1
      throw error
    }
  }

  async function hear(): Promise<void> {
    const leave = version === undefined ? undefined : places.take(ref.namespace)
    if (version === undefined || leave === undefined) {
      await clock.sleep(LOOK_MS * (0.5 + random()), signal)
      isCurrent = false
      return
    }
    try {
      await watch(version)
    } finally {
      leave()
    }
  }

  async function watch(from: string): Promise<void> {
    const openedAt = clock.monotonic()
    let heard = 0
    for await (const event of watchImport(client, ref, from, random, signal)) {
      if (event.type === 'gone') return forgotten(heard)
      contact.found()
      if (event.type === 'open') continue
      heard += 1
      failures = 0
      isPast = event.type === 'bookmark'
      if (event.type === 'bookmark') version = event.resourceVersion
      else changes.hold(event.line)
    }
    if (heard === 0 && clock.monotonic() - openedAt < SHORT_WATCH_MS)
      throw new Error('the watch ended at once')
    failures = 0
    await clock.sleep(RENEW_MS * (0.5 + random() / 2), signal)
  }

  async function forgotten(heard: number): Promise<void> {
    isCurrent = false
    if (heard === 0) failures += 1
    await clock.sleep(Math.max(random() * REREAD_MS, retryMs(failures, random())), signal)
  }

  /** Nobody asks while the API server is away but `contact`. */
  async function failed(error: unknown): Promise<void> {
    failures += 1
    if (failures % RESUMES === 0) isCurrent = false
    contact.lost(error)
    await contact.back(signal)
    await clock.sleep(random() * BACK_MS + retryMs(failures, random()), signal)
  }

  const ready = first()
  const following = ready.then(follow, () => {})
  return {
    ready,
    async close() {
      stop.abort()
      cancelRevalidation()
      await following
      await changes.settled()
      await lane
      cancelRevalidation()
    },
  }
}

function retryMs(failures: number, random: number): number {
  if (failures === 0) return 0
  return Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** failures) * (0.5 + random / 2)
}
