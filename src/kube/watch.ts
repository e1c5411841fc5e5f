import type { KubeClient } from './client.ts'
import { describeAnswer, fieldOf } from './failure.ts'
import { type ImportRef, importsPath, onlyNamed, Refused } from './import-calls.ts'
import { parseJson } from './stream.ts'

/** The API server sends a bookmark about every minute: so long a silence means that nobody is there any more. */
const SILENCE_MS = 150_000
/** After so long the server ends the watch, in seconds: spread, so that the nodes do not come back all at once. */
const LONGEST_SECONDS = { from: 1800, spread: 1800 }

export type WatchEvent =
  /** The server took the watch: from here on nothing is missed. */
  | { type: 'open' }
  /** The import changed; not parsed yet, for a later one makes it of no interest. */
  | { type: 'change'; line: string }
  | { type: 'bookmark'; resourceVersion: string }
  /** The version is too old to go on from: read anew. */
  | { type: 'gone' }

/** What a change came to; no manifest: the import was deleted. */
export type Change = { manifest: unknown; resourceVersion: string }

/**
 * What happens to one import after `resourceVersion`, until the server ends the watch.
 * @throws Error with one line of words for the operator
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

/** @throws Error that the server told instead of an event; undefined for a line that is no event of the API */
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

/** @throws Error for a line that is no event of the API */
export function parseChange(line: string): Change {
  const event = parseJson(line)
  const type = fieldOf(event, 'type')
  const object = fieldOf(event, 'object')
  const resourceVersion = fieldOf(fieldOf(object, 'metadata'), 'resourceVersion')
  if (typeof resourceVersion !== 'string') throw new Error('an event of the watch is not one of the API')
  return { manifest: type === 'DELETED' ? undefined : object, resourceVersion }
}
