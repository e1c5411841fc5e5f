import { existsSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { CHART } from '../../../deploy/generate/deploy-files.ts'
import { helm } from '../../../deploy/generate/helm.ts'
import { freePort } from '../free-port.ts'
import { kubectl, mustKubectl, noCluster } from './cluster.ts'
import { type Image, importImage, makeImage, noPacker } from './image.ts'

/** Of a cluster made by ../shared/cluster, in the directory of its kubeconfig. */
const CONTAINERD = join(dirname(process.env.KUBECONFIG ?? ''), 'containerd.sock')
const FIT = join(import.meta.dirname, 'fit-manifests.ts')

/** Why the plugin cannot be installed as a DaemonSet here; false when it can. */
export const noInstall: string | false =
  noPacker || noCluster || (existsSync(CONTAINERD) ? false : "the cluster's containerd is not at hand")

export type Installed = {
  /** Of its objects, its namespace and the release. */
  name: string
  /** What helm said at the end. */
  notes: string
  driverName: string
  /** The plugin's own /metrics, /healthz and /readyz. */
  httpUrl: string
  /** Name of its pod, whichever that is now. */
  podName(): string
  log(): string
  /** `helm upgrade` with these values added; waits until the rollout is through. */
  upgrade(values: Readonly<Record<string, string>>): Promise<void>
  /** `helm uninstall`, which leaves the CRD. */
  uninstall(): Promise<void>
}

/**
 * `helm install` of the chart with the image of this source; waits until kubelet has taken the plugin.
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
  const port = await freePort()
  const driverName = `${name}.csi.example.org`
  const fixed = {
    'csiDriver.name': driverName,
    'http.host': '127.0.0.1',
    'http.port': String(port),
    stateDir: `/run/${name}`,
    ...options.values,
  }

  async function apply(values: Readonly<Record<string, string>>): Promise<string> {
    const args = argumentsFor(name, image, { ...fixed, ...values })
    const said = await mustHelm('upgrade', '--install', name, CHART, ...args)
    // Helm counts a node of its own as one that may be unavailable.
    mustKubectl(['-n', name, 'rollout', 'status', `daemonset/${name}`, '--timeout=120s'])
    return said
  }

  async function uninstall(): Promise<void> {
    await helm('uninstall', name, `--namespace=${name}`, '--wait', '--timeout=60s')
    kubectl(['delete', 'namespace', name, '--wait=false'])
    // The cluster's node is this machine.
    for (const path of [`/run/${name}`, `/var/lib/kubelet/plugins/${driverName}`]) {
      rmSync(path, { recursive: true, force: true })
    }
  }

  const podName = () => mustKubectl(['get', 'pods', '-n', name, '-o', 'jsonpath={.items[0].metadata.name}'])
  let notes: string
  try {
    notes = await apply({})
  } catch (error) {
    const said = kubectl(['logs', '-n', name, `daemonset/${name}`]).stdout
    await uninstall()
    throw new Error(`the plugin did not get ready: ${said}`, { cause: error })
  }
  return {
    name,
    notes,
    driverName,
    httpUrl: `http://127.0.0.1:${port}`,
    podName,
    log: () => mustKubectl(['logs', '-n', name, podName()]),
    upgrade: async (values) => {
      await apply(values)
    },
    uninstall,
  }
}

/** Of helm, for the image of this source on this cluster. */
function argumentsFor(name: string, image: Image, values: Readonly<Record<string, string>>): string[] {
  const [repository, tag] = image.name.split(/:(?=[^:]*$)/)
  const all = {
    fullnameOverride: name,
    'image.repository': repository,
    'image.tag': tag,
    'image.pullPolicy': 'Never',
    // The cluster has no network for pods.
    hostNetwork: 'true',
    ...values,
  }
  const { command, env } = image
  // Under tap every Node process is given a loader, which helm's child has no use for.
  const fitting = ['-u', 'NODE_OPTIONS', process.execPath, FIT, JSON.stringify({ command, env })]
  return [
    `--namespace=${name}`,
    '--create-namespace',
    // The CRD may be that of an earlier release, which leaves it: imports outlive a release.
    '--take-ownership',
    '--wait',
    '--timeout=120s',
    '--post-renderer=env',
    ...fitting.map((argument) => `--post-renderer-args=${argument}`),
    ...Object.entries(all).map(([path, value]) => `--set=${path}=${value}`),
  ]
}

/** @throws Error with helm's words */
async function mustHelm(...args: readonly string[]): Promise<string> {
  const { ok, stdout, stderr } = await helm(...args)
  if (!ok) throw new Error(stderr)
  return stdout
}
