import type { KubeClient } from './client.ts'
import { describeAnswer, fieldOf } from './failure.ts'
import { explainRefusal, IMPORTS_PATH } from './list.ts'

/** The API server sends a bookmark about every minute: so long a silence means that nobody is there any more. */
const SILENCE_MS = 150_000
/** After so long the server ends the watch, in seconds: spread, so that the nodes do not come back all at once. */
const LONGEST_SECONDS = { from: 300, spread: 300 }

export type WatchEvent =
  /** The server took the watch: from here on nothing is missed. */
  | { type: 'open' }
  | { type: 'put' | 'remove'; manifest: unknown; resourceVersion: string }
  | { type: 'bookmark'; resourceVersion: string }
  /** The version is too old to go on from: list anew. */
  | { type: 'gone' }

/**
 * What happens to imports after `resourceVersion`, until the server ends the watch.
 * @throws Error with one line of words for the operator
 */
export async function* watchImports(
  client: KubeClient,
  resourceVersion: string,
  random: () => number,
  signal: AbortSignal,
): AsyncGenerator<WatchEvent> {
  const timeoutSeconds = Math.round(LONGEST_SECONDS.from + random() * LONGEST_SECONDS.spread)
  const query = {
    watch: 'true',
    allowWatchBookmarks: 'true',
    resourceVersion,
    timeoutSeconds: String(timeoutSeconds),
  }
  const answer = await client.stream({ method: 'GET', path: IMPORTS_PATH, query }, SILENCE_MS, signal)
  if (!('lines' in answer)) {
    if (answer.status !== 410) throw new Error(explainRefusal(answer.status, describeAnswer(answer)))
    yield { type: 'gone' }
    return
  }
  yield { type: 'open' }
  for await (const line of answer.lines) {
    const event = toEvent(fieldOf(line, 'type'), fieldOf(line, 'object'))
    if (event !== undefined) yield event
  }
}

function toEvent(type: unknown, object: unknown): WatchEvent | undefined {
  if (type === 'ERROR') {
    const status = fieldOf(object, 'code')
    if (status === 410) return { type: 'gone' }
    throw new Error(describeAnswer({ status: Number(status), body: object, retryAfterMs: undefined }))
  }
  const resourceVersion = fieldOf(fieldOf(object, 'metadata'), 'resourceVersion')
  if (typeof resourceVersion !== 'string') return undefined
  if (type === 'BOOKMARK') return { type: 'bookmark', resourceVersion }
  if (type === 'ADDED' || type === 'MODIFIED') return { type: 'put', manifest: object, resourceVersion }
  return type === 'DELETED' ? { type: 'remove', manifest: object, resourceVersion } : undefined
}
