import type { KubeClient } from './client.ts'
import { describeAnswer, fieldOf } from './failure.ts'

/** The collection in all namespaces. */
export const IMPORTS_PATH = '/apis/deckhouse.io/v1alpha1/secretsstoreimports'

/** Objects of one page: an import with a CA certificate is some kilobytes. */
const PAGE = 250
/** Of one page. */
const MOST_BYTES = 64 * 1024 * 1024

/**
 * All imports of the cluster, page by page: for the doctor alone, the plugin reads only what its node uses.
 * @throws Error with one line of words for the operator
 */
export async function listImports(client: KubeClient, signal: AbortSignal): Promise<unknown[]> {
  const manifests: unknown[] = []
  let next = ''
  do {
    const query = { limit: String(PAGE), ...(next ? { continue: next } : {}) }
    const answer = await client.call(
      { method: 'GET', path: IMPORTS_PATH, query, mostBytes: MOST_BYTES },
      signal,
    )
    // The pages' snapshot was compacted away while we read (410): the caller begins again.
    if (answer.status !== 200) throw new Error(explainRefusal(answer.status, describeAnswer(answer)))
    const items = fieldOf(answer.body, 'items')
    const metadata = fieldOf(answer.body, 'metadata')
    if (!Array.isArray(items)) throw new Error('the listing is not one of the API')
    for (const item of items) manifests.push(item)
    const token = fieldOf(metadata, 'continue')
    next = typeof token === 'string' ? token : ''
  } while (next !== '')
  return manifests
}

export function explainRefusal(status: number, words: string): string {
  if (status === 404) return `${words} (is the CRD secretsstoreimports.deckhouse.io installed?)`
  if (status === 401) return `${words} (the API server does not accept the plugin's service-account token)`
  if (status === 403)
    return `${words} (the plugin's ClusterRole needs list and watch on secretsstoreimports.deckhouse.io)`
  return words
}
