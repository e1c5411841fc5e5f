import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { helm } from './helm.ts'

export const ROOT = resolve(import.meta.dirname, '../..')
export const CHART = join(ROOT, 'deploy/helm/vault-files-csi')
/** A helm built by `go install` assumes Kubernetes 1.20. */
export const KUBE_VERSION = '--kube-version=1.34.0'

const NAME = 'vault-files-csi'
const HEADER =
  '# Rendered from deploy/helm/vault-files-csi by `npm run manifests`: change the chart, not this file.\n'

/** In the order in which they must be applied. */
const manifests = [
  { file: '2-crd.yaml', template: 'crd.yaml' },
  { file: '3-csidriver.yaml', template: 'csidriver.yaml' },
  { file: '4-serviceaccount.yaml', template: 'serviceaccount.yaml' },
  { file: '5-rbac.yaml', template: 'rbac.yaml' },
  { file: '6-daemonset.yaml', template: 'daemonset.yaml' },
]

const NAMESPACE = `${HEADER}apiVersion: v1
kind: Namespace
metadata:
  name: ${NAME}
  labels:
    # The plugin's container is privileged: see docs/admins/security.md.
    pod-security.kubernetes.io/enforce: privileged
`

/** Helm cannot read files outside the chart. */
const copies = {
  'deploy/crd/secretsstoreimports.yaml': 'secretsstoreimports.yaml',
  'deploy/alerts/vault-files-csi.yaml': 'alerts.yaml',
  'deploy/dashboards/vault-files-csi.json': 'dashboard.json',
}

/** The chart's copies of files from other folders, by path from the repository's root. */
export function chartFiles(): Map<string, string> {
  const files = Object.entries(copies).map(
    ([from, to]) =>
      [`deploy/helm/vault-files-csi/files/${to}`, readFileSync(join(ROOT, from), 'utf8')] as const,
  )
  return new Map(files)
}

/**
 * The plain manifests, by path from the repository's root: the chart rendered with its default values.
 * @throws Error with helm's message
 */
export async function plainManifests(): Promise<Map<string, string>> {
  // Annotations for Helm have no effect without it.
  const rendered = await renderChart('--set=crd.keep=false')
  const bySource = new Map<string, string>()
  for (const document of rendered.split(/^---\n/m)) {
    const [, source, text = ''] = /^# Source: vault-files-csi\/templates\/(\S+)\n(.*)$/s.exec(document) ?? []
    if (source === undefined) continue
    const previous = bySource.get(source)
    bySource.set(source, previous === undefined ? text : `${previous}---\n${text}`)
  }
  const files = manifests.map(({ file, template }): [string, string] => {
    const text = bySource.get(template)
    if (text === undefined) throw new Error(`the chart rendered nothing from templates/${template}`)
    bySource.delete(template)
    return [`deploy/manifests/${file}`, HEADER + withoutHelm(text)]
  })
  const rest = [...bySource.keys()]
  if (rest.length > 0) throw new Error(`templates without a manifest: ${rest.join(', ')}`)
  return new Map([['deploy/manifests/1-namespace.yaml', NAMESPACE], ...files])
}

/** @throws Error with helm's message */
export async function renderChart(...args: readonly string[]): Promise<string> {
  return renderRelease(NAME, ...args)
}

/** Renders the chart as release `name` in the namespace of that name. @throws Error with helm's message */
export async function renderRelease(name: string, ...args: readonly string[]): Promise<string> {
  const result = await helm('template', name, CHART, `--namespace=${name}`, KUBE_VERSION, ...args)
  if (!result.ok) throw new Error(result.stderr)
  return result.stdout
}

function withoutHelm(text: string): string {
  return `${text.replaceAll(/^ *(app\.kubernetes\.io\/managed-by|helm\.sh\/chart): .*\n/gm, '').trimEnd()}\n`
}
