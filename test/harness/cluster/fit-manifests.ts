// Helm's post-renderer for the cluster of ../shared/cluster: manifests on standard input, fitting ones on standard
// output. The argument is an Image as JSON.
import { readFileSync } from 'node:fs'
import { parse, parseAllDocuments, stringify } from 'yaml'
import type { Image } from './image.ts'

type DaemonSet = { kind: string; spec: { template: { spec: PodSpec } } }
type PodSpec = { nodeName?: string; containers: Container[] }
type Container = { command?: string[]; env: object[]; livenessProbe: Probe; readinessProbe: Probe }
type Probe = { httpGet: { host?: string } }

const image = JSON.parse(process.argv[2] ?? '') as Pick<Image, 'command' | 'env'>

for (const document of parseAllDocuments(readFileSync(0, 'utf8'))) {
  const manifest = document.toJS() as DaemonSet | null
  if (manifest?.kind === 'DaemonSet') fit(manifest)
  if (manifest !== null) process.stdout.write(`---\n${stringify(manifest)}`)
}

/** What this cluster lacks: a scheduler, an address for Services, an engine that knows the image's entry point. */
function fit({ spec }: DaemonSet): void {
  const pod = spec.template.spec
  pod.nodeName = 'node1'
  for (const container of pod.containers) {
    container.command = image.command
    container.env.push(...image.env, ...apiServerEnv())
    container.livenessProbe.httpGet.host = '127.0.0.1'
    container.readinessProbe.httpGet.host = '127.0.0.1'
  }
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
