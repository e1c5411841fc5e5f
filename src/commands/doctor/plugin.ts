import * as z from 'zod'
import { environmentName, settings } from '../../core/settings/settings.ts'
import { readCommandLine } from '../../core/settings/sources.ts'
import type { KubeClient } from '../../kube/client.ts'
import { get } from './api-server.ts'
import { ok, skipped, type Verdict, warn } from './report.ts'

const texts = z.record(z.string(), z.string())

const containerSchema = z.object({
  image: z.string().default(''),
  args: z.array(z.string()).default([]),
  env: z.array(z.object({ name: z.string(), value: z.string().optional() })).default([]),
  volumeMounts: z.array(z.object({ name: z.string(), mountPath: z.string() })).default([]),
})

const volumeSchema = z.object({
  name: z.string(),
  configMap: z.object({ name: z.string() }).optional(),
})

const daemonSetSchema = z.object({
  metadata: z.object({ name: z.string(), namespace: z.string(), labels: texts.default({}) }),
  spec: z.object({
    selector: z.object({ matchLabels: texts.default({}) }),
    template: z.object({
      spec: z.object({
        serviceAccountName: z.string().default('default'),
        containers: z.array(containerSchema),
        volumes: z.array(volumeSchema).default([]),
      }),
    }),
  }),
  status: z
    .object({ desiredNumberScheduled: z.number().default(0), numberReady: z.number().default(0) })
    .prefault({}),
})

const podListSchema = z.object({
  items: z.array(
    z.object({
      spec: z.object({ nodeName: z.string().optional() }),
      status: z
        .object({ conditions: z.array(z.object({ type: z.string(), status: z.string() })).default([]) })
        .prefault({}),
    }),
  ),
})

type DaemonSet = z.output<typeof daemonSetSchema>

/** The installed plugin. */
export type Plugin = {
  namespace: string
  serviceAccount: string
  args: readonly string[]
  env: Readonly<Record<string, string>>
  /** ConfigMaps mounted in its pods. */
  configMaps: readonly { name: string; mountPath: string }[]
  /** Nodes with a ready plugin pod. */
  nodes: readonly string[]
}

/** Finds the DaemonSet that runs the driver, and checks that its pods are ready. */
export async function checkPlugin(
  client: KubeClient,
  driverName: string,
  signal: AbortSignal,
): Promise<Verdict<Plugin>> {
  const result = await get(client, '/apis/apps/v1/daemonsets', signal)
  if (result.state !== 'found') return skipped(`you may not list DaemonSets: ${result.reason}`)
  const all = z.object({ items: z.array(daemonSetSchema) }).parse(result.body).items
  const [daemonSet] = all.filter((candidate) => containerFor(candidate, driverName) !== undefined)
  if (daemonSet === undefined) {
    const detail = `no DaemonSet runs the plugin with --driver-name=${driverName}`
    return skipped(`${detail}; ignore this if the plugin is deployed another way`)
  }
  const plugin = await describe(client, daemonSet, driverName, signal)
  const { name, namespace } = daemonSet.metadata
  const { desiredNumberScheduled, numberReady } = daemonSet.status
  const detail = `DaemonSet ${namespace}/${name}, ${numberReady} of ${desiredNumberScheduled} pods ready`
  if (numberReady > 0 && numberReady >= desiredNumberScheduled) return ok(detail, plugin)
  return warn(detail, `kubectl -n ${namespace} describe ds/${name}; kubectl -n ${namespace} get pods`, plugin)
}

/** Other drivers' containers may have a flag of that name, but with another value. */
function containerFor(daemonSet: DaemonSet, driverName: string) {
  const { labels } = daemonSet.metadata
  const isOurs = labels['app.kubernetes.io/name'] === 'vault-files-csi'
  const defaultName = isOurs
    ? settings.driverName.fallback({ env: {}, isTTY: false, endpoint: '', maxNodeBytes: 0 })
    : undefined
  return daemonSet.spec.template.spec.containers.find(({ args, env }) => {
    const byFlag = readCommandLine(args).given.get('driverName')?.texts.at(-1)
    const byVariable = env.find(({ name }) => name === environmentName('driverName'))?.value
    return (byFlag ?? byVariable ?? defaultName) === driverName
  })
}

async function describe(
  client: KubeClient,
  daemonSet: DaemonSet,
  driverName: string,
  signal: AbortSignal,
): Promise<Plugin> {
  const { serviceAccountName, volumes } = daemonSet.spec.template.spec
  const container = containerFor(daemonSet, driverName)
  const { namespace } = daemonSet.metadata
  const configMaps = (container?.volumeMounts ?? []).flatMap(({ name, mountPath }) => {
    const configMap = volumes.find((volume) => volume.name === name)?.configMap
    return configMap === undefined ? [] : [{ name: configMap.name, mountPath }]
  })
  const env = (container?.env ?? []).flatMap(({ name, value }) =>
    value === undefined ? [] : [[name, value]],
  )
  return {
    namespace,
    serviceAccount: serviceAccountName,
    args: container?.args ?? [],
    env: Object.fromEntries(env),
    configMaps,
    nodes: await readyNodes(client, namespace, daemonSet.spec.selector.matchLabels, signal),
  }
}

async function readyNodes(
  client: KubeClient,
  namespace: string,
  labels: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<string[]> {
  const labelSelector = Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(',')
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`
  const answer = await client.call({ method: 'GET', path, query: { labelSelector } }, signal)
  const pods = podListSchema.safeParse(answer.body)
  if (answer.status !== 200 || !pods.success) return []
  const isReady = (pod: (typeof pods.data.items)[number]) =>
    pod.status.conditions.some(({ type, status }) => type === 'Ready' && status === 'True')
  return pods.data.items.filter(isReady).flatMap(({ spec }) => (spec.nodeName ? [spec.nodeName] : []))
}
