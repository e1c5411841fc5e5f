import type { KubeClient } from './client.ts'
import { describeAnswer, fieldOf } from './failure.ts'

/** The collection in all namespaces. */
export const IMPORTS_PATH = '/apis/deckhouse.io/v1alpha1/secretsstoreimports'

/** Objects of one page: an import with a CA certificate is some kilobytes. */
const PAGE = 250

/**
 * All imports of the cluster, page by page, and the resource version from which a watch goes on.
 * @throws Error with one line of words for the operator
 */
export async function listImports(
  client: KubeClient,
  signal: AbortSignal,
): Promise<{ manifests: unknown[]; resourceVersion: string }> {
  const manifests: unknown[] = []
  let next = ''
  let resourceVersion = ''
  do {
    const query = { limit: String(PAGE), ...(next ? { continue: next } : {}) }
    const answer = await client.call({ method: 'GET', path: IMPORTS_PATH, query }, signal)
    // The pages' snapshot was compacted away while we read (410): the caller begins again.
    if (answer.status !== 200) throw new Error(explainRefusal(answer.status, describeAnswer(answer)))
    const items = fieldOf(answer.body, 'items')
    const metadata = fieldOf(answer.body, 'metadata')
    const version = fieldOf(metadata, 'resourceVersion')
    if (!Array.isArray(items) || typeof version !== 'string')
      throw new Error('the listing is not one of the API')
    for (const item of items) manifests.push(item)
    resourceVersion = version
    const token = fieldOf(metadata, 'continue')
    next = typeof token === 'string' ? token : ''
  } while (next !== '')
  return { manifests, resourceVersion }
}

export function explainRefusal(status: number, words: string): string {
  if (status === 404) return `${words} (is the CRD secretsstoreimports.deckhouse.io installed?)`
  if (status === 401) return `${words} (the API server does not accept the plugin's service-account token)`
  if (status === 403)
    return `${words} (the plugin's ClusterRole needs list and watch on secretsstoreimports.deckhouse.io)`
  return words
}
