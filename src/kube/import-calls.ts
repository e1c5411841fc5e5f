import type { Answer, KubeClient } from './client.ts'
import { describeAnswer, fieldOf } from './failure.ts'

/** The collection in all namespaces. */
export const IMPORTS_PATH = '/apis/deckhouse.io/v1alpha1/secretsstoreimports'

export type ImportRef = { namespace: string; name: string }

/** For one read of one key of etcd: pods wait for it. */
const READ_MS = 10_000
/** Rows of a few hundred bytes. */
const MOST_NAMES = 100
const MOST_BYTES_OF_NAMES = 256 * 1024

/** Objects of one page: an import with a CA certificate is some kilobytes. */
const PAGE = 250
/** Of one page. */
const MOST_BYTES_OF_PAGE = 64 * 1024 * 1024

/** The answer to a read; no manifest: the import does not exist as of that version. */
export type Found = { manifest: unknown; resourceVersion: string }

/** The API server answered with an error. */
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

/** Selects one import in lists and watches, so that the plugin needs no right to get. */
export function onlyNamed(name: string): Record<string, string> {
  return { fieldSelector: `metadata.name=${name}` }
}

/**
 * Reads one import, by a list of that name: a watch can resume from the version of a list.
 * @param notOlderThan the API server answers from memory, with this version or a later one; undefined: it asks etcd
 * @throws Refused; Error with a one-line message
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
  const call = { method: 'GET', path: importsPath(namespace), query, limitMs: READ_MS } as const
  const { body } = accepted(await client.call(call, signal))
  const items = fieldOf(body, 'items')
  const resourceVersion = fieldOf(fieldOf(body, 'metadata'), 'resourceVersion')
  if (!Array.isArray(items) || typeof resourceVersion !== 'string')
    throw new Error('the listing is not one of the API')
  return { manifest: items[0], resourceVersion }
}

/**
 * Names of imports that the namespace has, at most 100. As a table without objects: for the text of a
 * message the manifests must not be sent.
 * @throws Error with a one-line message
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
        limitMs: READ_MS,
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
 * Whether imports can be read at all: the API server answers, the CRD exists, RBAC grants it. The smallest read, served
 * from the API server's cache; a limit would be ignored there.
 * @throws Error with a one-line message
 */
export async function checkImportsServed(client: KubeClient, signal: AbortSignal): Promise<void> {
  const query = { ...onlyNamed('none'), resourceVersion: '0' }
  accepted(await client.call({ method: 'GET', path: IMPORTS_PATH, query, limitMs: READ_MS }, signal))
}

function accepted(answer: Answer): Answer {
  if (answer.status === 200) return answer
  throw new Refused(answer)
}

/**
 * All imports of the cluster, page by page: for the doctor only, as the plugin reads only imports that its node uses.
 * @throws Error with a one-line message
 */
export async function listImports(client: KubeClient, signal: AbortSignal): Promise<unknown[]> {
  const manifests: unknown[] = []
  let next = ''
  do {
    const query = { limit: String(PAGE), ...(next ? { continue: next } : {}) }
    const answer = await client.call(
      { method: 'GET', path: IMPORTS_PATH, query, mostBytes: MOST_BYTES_OF_PAGE },
      signal,
    )
    // 410: etcd compacted the snapshot between two pages, and the caller starts again.
    const { body } = accepted(answer)
    const items = fieldOf(body, 'items')
    const metadata = fieldOf(body, 'metadata')
    if (!Array.isArray(items)) throw new Error('the listing is not one of the API')
    for (const item of items) manifests.push(item)
    const token = fieldOf(metadata, 'continue')
    next = typeof token === 'string' ? token : ''
  } while (next !== '')
  return manifests
}

function explainRefusal(status: number, words: string): string {
  if (status === 404) return `${words} (is the CRD secretsstoreimports.deckhouse.io installed?)`
  if (status === 401) return `${words} (the API server does not accept the plugin's service-account token)`
  if (status === 403)
    return `${words} (the plugin's ClusterRole needs list and watch on secretsstoreimports.deckhouse.io)`
  return words
}
