import * as z from 'zod'
import type { KubeClient } from '../../kube/client.ts'
import { get } from './api-server.ts'
import { fail, ok, skipped, type Verdict, warn } from './report.ts'

/** Names told of a longer list. */
const SHOWN = 5

const csiNodeListSchema = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string() }),
      spec: z.object({ drivers: z.array(z.object({ name: z.string() })).nullish() }),
    }),
  ),
})

/**
 * Whether kubelet has taken the plugin on every node where it runs.
 * @param pluginNodes nodes with a plugin pod that is ready; undefined when that is not known
 */
export async function checkRegistration(
  client: KubeClient,
  driverName: string,
  pluginNodes: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<Verdict> {
  const asked = await get(client, '/apis/storage.k8s.io/v1/csinodes', signal)
  if (asked.state !== 'found') return skipped(`you may not list CSINodes: ${asked.words}`)
  const registered = csiNodeListSchema
    .parse(asked.body)
    .items.filter(({ spec }) => spec.drivers?.some(({ name }) => name === driverName))
    .map(({ metadata }) => metadata.name)
  return judge(driverName, registered, pluginNodes ?? registered)
}

function judge(driverName: string, registered: readonly string[], running: readonly string[]): Verdict {
  const missing = running.filter((node) => !registered.includes(node))
  if (missing.length > 0) {
    return fail(
      `the plugin is ready on ${show(missing)}, but kubelet there does not list ${driverName}`,
      'see the plugin\'s log for "kubelet refused"; --registration-socket must lie in kubelet\'s plugins_registry and --kubelet-endpoint be the CSI socket as the host sees it',
    )
  }
  if (registered.length === 0) {
    return fail(
      `no node lists ${driverName}: no pod can mount it`,
      'install the plugin, or see why its pods are not ready',
    )
  }
  const orphans = registered.filter((node) => !running.includes(node))
  if (orphans.length > 0) {
    return warn(
      `kubelet on ${show(orphans)} lists ${driverName}, but no plugin pod is ready there: mounts wait`,
      'see the plugin pods of these nodes',
    )
  }
  return ok(`kubelet lists the driver on ${show(registered)}`)
}

function show(nodes: readonly string[]): string {
  const more = nodes.length - SHOWN
  return `${nodes.slice(0, SHOWN).join(', ')}${more > 0 ? ` and ${more} more nodes` : ''}`
}
