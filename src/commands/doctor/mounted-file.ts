import { join } from 'node:path'
import type { KubeClient } from '../../kube/client.ts'
import { fieldOf } from '../../kube/failure.ts'
import { get } from './ask.ts'
import type { Plugin } from './plugin.ts'

/**
 * A file as the plugin's pods see it, when it comes from a ConfigMap.
 * @returns its text and where it stands; undefined when it cannot be had from here
 */
export async function readMountedFile(
  client: KubeClient,
  { namespace, configMaps }: Plugin,
  path: string,
  signal: AbortSignal,
): Promise<{ text: string; source: string } | undefined> {
  for (const { name, mountPath } of configMaps) {
    const folder = join(mountPath, '/')
    if (!path.startsWith(folder)) continue
    const key = path.slice(folder.length)
    const configMap = `/api/v1/namespaces/${encodeURIComponent(namespace)}/configmaps/${encodeURIComponent(name)}`
    const asked = await get(client, configMap, signal)
    const text = asked.state === 'found' ? fieldOf(fieldOf(asked.body, 'data'), key) : undefined
    if (typeof text === 'string') return { text, source: `key ${key} of ConfigMap ${namespace}/${name}` }
  }
  return undefined
}
