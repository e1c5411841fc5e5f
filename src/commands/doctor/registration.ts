import * as z from 'zod'
import type { KubeClient } from '../../kube/client.ts'
import { get } from './api-server.ts'
import { fail, ok, skipped, type Verdict, warn } from './report.ts'

/** How many names of a longer list are shown. */
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
 * Whether kubelet has registered the plugin on every node where it runs.
 * @param pluginNodes nodes with a ready plugin pod; undefined when not known
 */
export async function checkRegistration(
  client: KubeClient,
  driverName: string,
  pluginNodes: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<Verdict> {
  const result = await get(client, '/apis/storage.k8s.io/v1/csinodes', signal)
  if (result.state !== 'found') return skipped(`you may not list CSINodes: ${result.reason}`)
  const registered = csiNodeListSchema
    .parse(result.body)
    .items.filter(({ spec }) => spec.drivers?.some(({ name }) => name === driverName))
    .map(({ metadata }) => metadata.name)
  return verdictOf(driverName, registered, pluginNodes ?? registered)
}

function verdictOf(driverName: string, registered: readonly string[], running: readonly string[]): Verdict {
  const missing = running.filter((node) => !registered.includes(node))
  if (missing.length > 0) {
    return fail(
      `the plugin is ready on ${show(missing)}, but kubelet there does not list ${driverName}`,
      'check the plugin\'s log for "kubelet refused"; --registration-socket must be in kubelet\'s plugins_registry, and --kubelet-endpoint must be the path of the CSI socket on the host',
    )
  }
  if (registered.length === 0) {
    return fail(
      `no node lists ${driverName}: no pod can mount it`,
      'install the plugin, or find out why its pods are not ready',
    )
  }
  const orphans = registered.filter((node) => !running.includes(node))
  if (orphans.length > 0) {
    return warn(
      `kubelet on ${show(orphans)} lists ${driverName}, but no plugin pod is ready there: mounts wait`,
      'check the plugin pods on these nodes',
    )
  }
  return ok(`kubelet lists the driver on ${show(registered)}`)
}

function show(nodes: readonly string[]): string {
  const more = nodes.length - SHOWN
  return `${nodes.slice(0, SHOWN).join(', ')}${more > 0 ? ` and ${more} more nodes` : ''}`
}
