import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { renderChart } from '../../../deploy/generate/deploy-files.ts'

/** Every switch of the chart turned on. */
export const ALL_ON = `--values=${join(import.meta.dirname, 'chart-values.yaml')}`

export type Rule = { apiGroups: string[]; resources: string[]; verbs: string[] }
type Probe = { httpGet?: { scheme?: string }; tcpSocket?: object }
type Container = {
  args: string[]
  securityContext: object
  volumeMounts: Mount[]
  livenessProbe: Probe
  resources: Resources
}
type Resources = { limits: { memory: string }; requests: { memory: string } }
type Mount = { name: string; mountPath: string; mountPropagation?: string }
type Volume = { name: string; hostPath?: { path: string } }
type PodSpec = { containers: Container[]; volumes: Volume[]; hostNetwork?: boolean }
export type Manifest = {
  kind: string
  metadata: { name: string; annotations?: Record<string, string>; labels: Record<string, string> }
  spec: Record<string, unknown>
  rules: Rule[]
  data: Record<string, string>
}

/** What the chart makes with these arguments of `helm template`. */
export async function manifestsOf(...args: readonly string[]): Promise<Manifest[]> {
  const documents = parseAllDocuments(await renderChart(...args))
  return documents
    .map((document) => document.toJS() as Manifest | null)
    .filter((manifest) => manifest !== null)
}

/** @throws Error unless there is exactly one of this kind */
export async function theOnly(kind: string, ...args: readonly string[]): Promise<Manifest> {
  const found = (await manifestsOf(...args)).filter((manifest) => manifest.kind === kind)
  if (found[0] === undefined || found.length > 1) throw new Error(`${found.length} of kind ${kind}`)
  return found[0]
}

export async function rulesOf(...args: readonly string[]): Promise<Rule[]> {
  return (await theOnly('ClusterRole', ...args)).rules
}

export async function podSpecOf(...args: readonly string[]): Promise<PodSpec> {
  const { spec } = await theOnly('DaemonSet', ...args)
  return (spec as { template: { spec: PodSpec } }).template.spec
}

/** Arguments of the plugin's container. */
export async function argsOf(...args: readonly string[]): Promise<string[]> {
  return (await podSpecOf(...args)).containers[0]?.args ?? []
}
