import { parseDuration } from '../../core/duration.ts'
import { changed, noCounterpart, toDo } from './comment.ts'
import { type ImportDraft, setAccess, setAddress, setAuthPath, setSkipVerify } from './draft.ts'
import { isTrue } from './manifest.ts'
import { annotationsOf, type Workload } from './workload.ts'

/** OpenBao's injector is Vault's with another prefix. */
const PREFIXES = {
  'vault.hashicorp.com/': '/vault/secrets',
  'openbao.openbao.org/': '/openbao/secrets',
} as const

/** The injector's annotations of a pod, without their prefix. */
export type AgentAnnotations = {
  values: ReadonlyMap<string, string>
  /** The default folder of its files. */
  folder: string
}

/** A file that the agent renders. */
export type AgentSecret = {
  /** As in the annotation agent-inject-secret-NAME. */
  rawName: string
  name: string
  path: string | undefined
  template: string | undefined
  templateFile: string | undefined
  file: string
  folder: string
  mode: string | undefined
  command: string | undefined
}

/** Annotations that are converted elsewhere, or meaningless without an agent. */
const OF_THE_AGENT =
  /^(agent-inject$|agent-inject-status|agent-image|agent-request|agent-limits|agent-init-|agent-pre-populate(-only)?$|agent-run-as|agent-set-security|agent-share-process|agent-service-account-token|agent-revoke|agent-cache|agent-copy|agent-enable-quit|agent-disable|agent-json-patch|agent-auto-auth|agent-telemetry|agent-metrics|agent-extra-secret|agent-request-namespace|agent-inject-containers|agent-inject-token$|agent-inject-default-template|preserve-secret-case|secret-volume-path|client-max-retries|client-timeout|go-max-procs|log-|template-config|template-max|template-static|auth-min|auth-max|error-on-missing-key|role$|auth-path$|auth-type$|namespace$|service$|tls-skip-verify$|tls-server-name$|tls-secret$|ca-cert$)/

const OF_A_SECRET = /^agent-inject-(secret|template-file|template|file|perms|command)-(.+)$/

const LOST: ReadonlyMap<string, string> = new Map([
  ['agent-configmap', 'write the templates of its agent configuration into files of the import'],
  ['proxy-address', 'have the cluster admin give the nodes access to Vault'],
  ['client-cert', 'log in with the service account only'],
  ['client-key', 'log in with the service account only'],
  ['ca-key', 'remove it'],
])

/** @returns undefined when the pod does not use the injector */
export function readAgentAnnotations(workload: Workload): AgentAnnotations | undefined {
  const all = annotationsOf(workload)
  for (const [prefix, folder] of Object.entries(PREFIXES)) {
    const prefixed = [...all].filter(([name]) => name.startsWith(prefix))
    const values = new Map(prefixed.map(([name, value]) => [name.slice(prefix.length), value]))
    if (isTrue(values.get('agent-inject')))
      return { values, folder: values.get('secret-volume-path') || folder }
  }
  return undefined
}

export function isAgentAnnotation(name: string): boolean {
  return Object.keys(PREFIXES).some((prefix) => name.startsWith(prefix))
}

/** In the order of the annotations. */
export function secretsOf({ values, folder }: AgentAnnotations): AgentSecret[] {
  const secrets = new Map<string, AgentSecret>()
  for (const name of values.keys()) {
    const [, kind, rawName = ''] = OF_A_SECRET.exec(name) ?? []
    if (kind === undefined || !['secret', 'template', 'template-file'].includes(kind) || secrets.has(rawName))
      continue
    const keepsCase = isTrue(
      values.get(`preserve-secret-case-${rawName}`) ?? values.get('preserve-secret-case'),
    )
    const annotationValue = (annotation: string) => values.get(`${annotation}-${rawName}`) || undefined
    const secretName = keepsCase ? rawName : rawName.toLowerCase()
    secrets.set(rawName, {
      rawName,
      name: secretName,
      path: annotationValue('agent-inject-secret'),
      template: annotationValue('agent-inject-template'),
      templateFile: annotationValue('agent-inject-template-file'),
      file: annotationValue('agent-inject-file') ?? secretName,
      folder: annotationValue('secret-volume-path') ?? folder,
      mode: annotationValue('agent-inject-perms'),
      command: annotationValue('agent-inject-command'),
    })
  }
  return [...secrets.values()]
}

/** Converts how Vault is reached, and notes annotations without a counterpart. */
export function convertAgentAccess(draft: ImportDraft, { values }: AgentAnnotations): void {
  const role = values.get('role')
  if (role) setAccess(draft, 'role', role)
  else
    setAccess(
      draft,
      'role',
      'REPLACE-ME',
      toDo('the annotation role is not set: set the role of the auth method'),
    )
  convertMethod(draft, values)
  setAuthPath(draft, values.get('auth-path'))
  setAccess(draft, 'namespace', values.get('namespace') || undefined)
  setAddress(draft, values.get('service'))
  convertCa(draft, values)
  setAccess(draft, 'tlsServerName', values.get('tls-server-name') || undefined)
  setSkipVerify(draft, isTrue(values.get('tls-skip-verify')))
  convertInterval(draft, values.get('template-static-secret-render-interval'))
  if (isTrue(values.get('agent-pre-populate-only'))) {
    draft.notes.push(
      changed(
        'with agent-pre-populate-only the files stayed as they were at the start; now they follow Vault',
      ),
    )
  }
  for (const [name, value] of values) {
    if (OF_THE_AGENT.test(name) || OF_A_SECRET.test(name)) continue
    draft.notes.push(
      noCounterpart(
        `annotation ${name}: ${JSON.stringify(value)}`,
        LOST.get(name) ?? 'check whether it still matters',
      ),
    )
  }
}

function convertMethod(draft: ImportDraft, values: ReadonlyMap<string, string>): void {
  const method = values.get('auth-type') || 'kubernetes'
  if (method === 'kubernetes') return
  if (method === 'jwt') {
    setAccess(draft, 'authMethod', 'jwt')
    return
  }
  const next = method === 'approle' ? 'set authMethod approle and appRole, or' : ''
  draft.notes.push(
    noCounterpart(
      `auth-type ${method}`,
      `${next} give the service account a role of an auth method kubernetes or jwt`.trim(),
    ),
  )
}

/** tls-secret is mounted at /vault/tls, where ca-cert names a file. */
function convertCa(draft: ImportDraft, values: ReadonlyMap<string, string>): void {
  const path = values.get('ca-cert')
  const secret = values.get('tls-secret')
  if (!path) return
  const key = path.split('/').at(-1) ?? ''
  if (secret && /\/tls\/[^/]+$/.test(path)) {
    setAccess(draft, 'caCertRef', { kind: 'Secret', name: secret, key })
    return
  }
  draft.notes.push(
    noCounterpart(
      `ca-cert ${path} is a file in the agent's container`,
      'put the CA in a ConfigMap and name it in spec.caCertRef, or have the cluster admin set --vault-ca-cert',
    ),
  )
}

function convertInterval(draft: ImportDraft, interval: string | undefined): void {
  if (!interval) return
  const text = /^\d+$/.test(interval) ? `${interval}s` : interval
  if (parseDuration(text)) setAccess(draft, 'refreshInterval', text)
}
