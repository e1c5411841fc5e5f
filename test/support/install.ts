import { existsSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parse, parseAllDocuments } from 'yaml'
import { installCrd, kubectl, mustKubectl, noCluster } from './cluster.ts'
import { renderRelease } from './deploy-files.ts'
import { freePort } from './free-port.ts'
import { type Image, importImage, makeImage, noPacker } from './image.ts'

/** Of a cluster made by ../shared/cluster, in the directory of its kubeconfig. */
const CONTAINERD = join(dirname(process.env.KUBECONFIG ?? ''), 'containerd.sock')

/** Why the plugin cannot be installed as a DaemonSet here; false when it can. */
export const noInstall: string | false =
  noPacker || noCluster || (existsSync(CONTAINERD) ? false : "the cluster's containerd is not at hand")

export type Installed = {
  name: string
  namespace: string
  driverName: string
  /** The plugin's own /metrics, /healthz and /readyz. */
  httpUrl: string
  /** Name of its pod, whichever that is now. */
  podName(): string
  log(): string
  /** Applies the chart again with these values added, and waits until the rollout is through. */
  upgrade(values: Readonly<Record<string, string>>): Promise<void>
  /** Takes away all but the CRD. */
  uninstall(): void
}

type Manifest = { kind: string; metadata: { name: string; namespace?: string }; spec?: unknown }
type DaemonSet = { spec: { template: { spec: PodSpec } } }
type PodSpec = { nodeName?: string; containers: Container[] }
type Container = { command?: string[]; env: object[]; livenessProbe: Probe; readinessProbe: Probe }
type Probe = { httpGet: { host?: string } }

/**
 * Installs the chart as a DaemonSet with the image of this source, waits until kubelet has taken the plugin.
 * @param options.name of its objects and namespace, and the first part of its driver's name
 * @param options.values of the chart, by path: `vault.address`
 */
export async function installPlugin(options: {
  name: string
  values: Readonly<Record<string, string>>
}): Promise<Installed> {
  const { name } = options
  const image = await makeImage()
  await importImage(image, CONTAINERD)
  await installCrd()
  const port = await freePort()
  const driverName = `${name}.csi.example.org`
  const fixed = {
    'csiDriver.name': driverName,
    'http.host': '127.0.0.1',
    'http.port': String(port),
    stateDir: `/run/${name}`,
    ...options.values,
  }
  kubectl(['create', 'namespace', name])

  async function apply(values: Readonly<Record<string, string>>): Promise<void> {
    const manifests = await manifestsOf(name, image, { ...fixed, ...values })
    mustKubectl(['apply', '-f', '-'], { apiVersion: 'v1', kind: 'List', items: manifests })
    mustKubectl(['-n', name, 'rollout', 'status', `daemonset/${name}`, '--timeout=120s'])
  }

  function uninstall(): void {
    const own = ['csidriver', 'clusterrole', 'clusterrolebinding']
    kubectl(['delete', `daemonset/${name}`, '-n', name, '--timeout=60s'])
    kubectl(['delete', own.join(','), '-l', `app.kubernetes.io/instance=${name}`])
    kubectl(['delete', 'namespace', name, '--wait=false'])
    // The cluster's node is this machine.
    for (const path of [`/run/${name}`, `/var/lib/kubelet/plugins/${driverName}`]) {
      rmSync(path, { recursive: true, force: true })
    }
  }

  const podName = () => mustKubectl(['get', 'pods', '-n', name, '-o', 'jsonpath={.items[0].metadata.name}'])
  try {
    await apply({})
  } catch (error) {
    const said = kubectl(['logs', '-n', name, `daemonset/${name}`]).stdout
    uninstall()
    throw new Error(`the plugin did not get ready: ${said}`, { cause: error })
  }
  return {
    name,
    namespace: name,
    driverName,
    httpUrl: `http://127.0.0.1:${port}`,
    podName,
    log: () => mustKubectl(['logs', '-n', name, podName()]),
    upgrade: apply,
    uninstall,
  }
}

async function manifestsOf(
  name: string,
  image: Image,
  values: Readonly<Record<string, string>>,
): Promise<Manifest[]> {
  const [repository, tag] = image.name.split(/:(?=[^:]*$)/)
  const all = {
    fullnameOverride: name,
    'crd.create': 'false',
    'image.repository': repository,
    'image.tag': tag,
    'image.pullPolicy': 'Never',
    // The cluster has no network for pods.
    hostNetwork: 'true',
    ...values,
  }
  const set = Object.entries(all).map(([path, value]) => `--set=${path}=${value}`)
  const text = await renderRelease(name, ...set)
  const manifests = parseAllDocuments(text).map((document) => document.toJS() as Manifest | null)
  return manifests.filter((manifest) => manifest !== null).map((manifest) => fit(manifest, image))
}

/** What this cluster lacks: a scheduler, an address for Services, an engine that knows the image's entry point. */
function fit(manifest: Manifest, image: Image): Manifest {
  if (manifest.kind !== 'DaemonSet') return manifest
  const { spec } = (manifest as unknown as DaemonSet).spec.template
  spec.nodeName = 'node1'
  for (const container of spec.containers) {
    container.command = image.command
    container.env.push(...image.env, ...apiServerEnv())
    container.livenessProbe.httpGet.host = '127.0.0.1'
    container.readinessProbe.httpGet.host = '127.0.0.1'
  }
  return manifest
}

function apiServerEnv(): { name: string; value: string }[] {
  const kubeconfig = parse(readFileSync(process.env.KUBECONFIG ?? '', 'utf8')) as {
    clusters: { cluster: { server: string } }[]
  }
  const { hostname, port } = new URL(kubeconfig.clusters[0]?.cluster.server ?? '')
  return [
    { name: 'KUBERNETES_SERVICE_HOST', value: hostname },
    { name: 'KUBERNETES_SERVICE_PORT', value: port },
  ]
}
