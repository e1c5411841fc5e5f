import type { KubeClient } from './client.ts'
import { describeAnswer, fieldOf } from './failure.ts'
import { parseJson } from './http.ts'
import { type ImportRef, importsPath, onlyNamed, Refused } from './import-calls.ts'

/** The API server sends a bookmark about every minute: a silence this long means that the connection is dead. */
const SILENCE_MS = 150_000
/** The server ends the watch after so many seconds: random, so that the nodes do not reconnect all at once. */
const LONGEST_SECONDS = { from: 1800, spread: 1800 }

export type WatchEvent =
  /** The server accepted the watch: from now on no change is missed. */
  | { type: 'open' }
  /** The import changed; not parsed yet, as a later change may replace it. */
  | { type: 'change'; line: string }
  | { type: 'bookmark'; resourceVersion: string }
  /** The version is too old to resume from: the import must be read again. */
  | { type: 'gone' }

/** A parsed change; no manifest: the import was deleted. */
export type Change = { manifest: unknown; resourceVersion: string }

/**
 * Changes of one import after `resourceVersion`, until the server ends the watch.
 * @throws Error with a one-line message
 */
export async function* watchImport(
  client: KubeClient,
  { namespace, name }: ImportRef,
  resourceVersion: string,
  random: () => number,
  signal: AbortSignal,
): AsyncGenerator<WatchEvent> {
  const timeoutSeconds = Math.round(LONGEST_SECONDS.from + random() * LONGEST_SECONDS.spread)
  const query = {
    ...onlyNamed(name),
    watch: 'true',
    allowWatchBookmarks: 'true',
    resourceVersion,
    timeoutSeconds: String(timeoutSeconds),
  }
  const answer = await client.stream(
    { method: 'GET', path: importsPath(namespace), query },
    SILENCE_MS,
    signal,
  )
  if (!('lines' in answer)) {
    if (answer.status !== 410) throw new Refused(answer)
    yield { type: 'gone' }
    return
  }
  yield { type: 'open' }
  for await (const line of answer.lines) {
    const event = toEvent(line)
    if (event !== undefined) yield event
  }
}

/** @returns undefined for a line that is not an event of the API. @throws Error that the server sent as an event */
function toEvent(line: string): WatchEvent | undefined {
  // The API server writes the type first.
  if (/^\{"type":"(ADDED|MODIFIED|DELETED)"/.test(line.slice(0, 24))) return { type: 'change', line }
  const event = parseJson(line)
  const type = fieldOf(event, 'type')
  const object = fieldOf(event, 'object')
  if (type === 'ERROR') {
    const status = fieldOf(object, 'code')
    if (status === 410) return { type: 'gone' }
    throw new Error(describeAnswer({ status: Number(status), body: object, retryAfterMs: undefined }))
  }
  const resourceVersion = fieldOf(fieldOf(object, 'metadata'), 'resourceVersion')
  if (typeof resourceVersion !== 'string') return undefined
  return type === 'BOOKMARK' ? { type: 'bookmark', resourceVersion } : { type: 'change', line }
}

/** @throws Error for a line that is not an event of the API */
export function parseChange(line: string): Change {
  const event = parseJson(line)
  const type = fieldOf(event, 'type')
  const object = fieldOf(event, 'object')
  const resourceVersion = fieldOf(fieldOf(object, 'metadata'), 'resourceVersion')
  if (typeof resourceVersion !== 'string') throw new Error('an event of the watch is not one of the API')
  return { manifest: type === 'DELETED' ? undefined : object, resourceVersion }
}

/** A limit on watches: each is a stream that the API server and this process hold open. */
export type WatchSlots = {
  /** @returns a function that releases the slot; undefined when none is left on the node or for the namespace */
  take(namespace: string): (() => void) | undefined
}

export function createWatchSlots(limits: { node: number; namespace: number }): WatchSlots {
  const taken = new Map<string, number>()
  let total = 0

  return {
    take(namespace) {
      const own = taken.get(namespace) ?? 0
      if (total >= limits.node || own >= limits.namespace) return undefined
      total += 1
      taken.set(namespace, own + 1)
      let isReleased = false
      return () => {
        if (isReleased) return
        isReleased = true
        total -= 1
        const left = (taken.get(namespace) ?? 1) - 1
        if (left > 0) taken.set(namespace, left)
        else taken.delete(namespace)
      }
    },
  }
}
