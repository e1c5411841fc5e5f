import type { Answer, KubeClient } from './client.ts'
import { describeAnswer, fieldOf } from './failure.ts'
import { explainRefusal, IMPORTS_PATH } from './list.ts'

export type ImportRef = { namespace: string; name: string }

/** For one look, which is one key to the API server: pods wait for it. */
const LOOK_MS = 10_000
/** Rows of a few hundred bytes. */
const MOST_NAMES = 100
const MOST_BYTES_OF_NAMES = 256 * 1024

/** What the API server has under a name; no manifest: nothing, as of that version. */
export type Found = { manifest: unknown; resourceVersion: string }

/** The API server answered, but not with what was asked for. */
export class Refused extends Error {
  readonly status: number

  constructor(answer: Answer) {
    super(explainRefusal(answer.status, describeAnswer(answer)))
    this.status = answer.status
  }
}

/** The collection of one namespace. */
export function importsPath(namespace: string): string {
  return `/apis/deckhouse.io/v1alpha1/namespaces/${encodeURIComponent(namespace)}/secretsstoreimports`
}

/** One import and no other, in lists and in watches: with the rights to list and watch, and none to get. */
export function onlyNamed(name: string): Record<string, string> {
  return { fieldSelector: `metadata.name=${name}` }
}

/**
 * Reads one import, by a list of what has its name: its version is one that a watch can go on from.
 * @param notOlderThan the API server answers from memory, with this version or a later one; undefined: it asks etcd
 * @throws Refused; Error with one line of words for the operator
 */
export async function readImport(
  client: KubeClient,
  { namespace, name }: ImportRef,
  notOlderThan: string | undefined,
  signal: AbortSignal,
): Promise<Found> {
  const since =
    notOlderThan === undefined ? {} : { resourceVersion: notOlderThan, resourceVersionMatch: 'NotOlderThan' }
  const query = { ...onlyNamed(name), ...since }
  const call = { method: 'GET', path: importsPath(namespace), query, limitMs: LOOK_MS } as const
  const { body } = accepted(await client.call(call, signal))
  const items = fieldOf(body, 'items')
  const resourceVersion = fieldOf(fieldOf(body, 'metadata'), 'resourceVersion')
  if (!Array.isArray(items) || typeof resourceVersion !== 'string')
    throw new Error('the listing is not one of the API')
  return { manifest: items[0], resourceVersion }
}

/**
 * Names of imports that the namespace has, some if there are many. As a table without objects: what is asked for in a
 * message must not bring along what everybody wrote.
 * @throws Error with one line of words for the operator
 */
export async function listNames(
  client: KubeClient,
  namespace: string,
  signal: AbortSignal,
): Promise<string[]> {
  const { body } = accepted(
    await client.call(
      {
        method: 'GET',
        path: importsPath(namespace),
        query: { limit: String(MOST_NAMES), includeObject: 'None' },
        accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
        mostBytes: MOST_BYTES_OF_NAMES,
        limitMs: LOOK_MS,
      },
      signal,
    ),
  )
  const rows = fieldOf(body, 'rows')
  if (!Array.isArray(rows)) throw new Error('the listing is not one of the API')
  // The first column of every table is the name.
  const names = rows.map((row) => fieldOf(fieldOf(row, 'cells'), '0'))
  return names.filter((name) => typeof name === 'string').slice(0, MOST_NAMES)
}

/**
 * Whether imports can be read at all: the API server answers, the CRD is there, the plugin may. The smallest of the
 * questions that are asked later, answered from the API server's memory; a limit would be ignored there.
 * @throws Error with one line of words for the operator
 */
export async function checkImportsServed(client: KubeClient, signal: AbortSignal): Promise<void> {
  const query = { ...onlyNamed('none'), resourceVersion: '0' }
  accepted(await client.call({ method: 'GET', path: IMPORTS_PATH, query, limitMs: LOOK_MS }, signal))
}

function accepted(answer: Answer): Answer {
  if (answer.status === 200) return answer
  throw new Refused(answer)
}
