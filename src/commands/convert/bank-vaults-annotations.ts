import { noCounterpart, toDo } from './comment.ts'
import { type ImportDraft, setAccess, setAddress, setAuthPath, setSkipVerify, takeFileName } from './draft.ts'
import { isTrue } from './manifest.ts'
import { vaultCall } from './vault-call.ts'
import { annotationsOf, serviceAccountOf, type Workload } from './workload.ts'

/** The webhook's old and current prefix. */
const PREFIXES = ['vault.security.banzaicloud.io/', 'secrets-webhook.security.bank-vaults.io/']

/** Annotations that are meaningless without an injected container. */
const OF_THE_WEBHOOK =
  /^(vault-image|vault-env-image|vault-env-daemon|secret-init-|enable-json-log|log-level|run-as-|readonly-root-fs|registry-skip-verify|psp-allow|provider$|vault-serviceaccount$|mutate$|vault-env-(delay|cpu|memory)|.*-pull-policy$)/

const LOST: ReadonlyMap<string, string> = new Map([
  ['vault-agent-configmap', 'write its templates into files of the import'],
  ['vault-ct-configmap', 'write its templates into files of the import'],
  ['token-auth-mount', 'log in with the service account, or use authMethod approle'],
  ['vault-env-passthrough', 'set these variables in the container'],
  ['mutate-probes', 'have the probes read the file of variables themselves'],
  ['transit-key-id', 'keep the plain text in a KV engine, or have the application decrypt it'],
  ['transit-path', 'keep the plain text in a KV engine, or have the application decrypt it'],
])

const CONVERTED = [
  'vault-addr',
  'vault-role',
  'vault-path',
  'vault-skip-verify',
  'vault-tls-secret',
  'vault-namespace',
  'vault-env-from-path',
  'vault-from-path',
  'vault-auth-method',
  'vault-ignore-missing-secrets',
]

export function isBankVaultsName(annotation: string): boolean {
  return PREFIXES.some((prefix) => annotation.startsWith(prefix))
}

/** Annotations of Bank-Vaults, without their prefix. */
export function readAnnotations(workload: Workload): Map<string, string> {
  const prefixed = [...annotationsOf(workload)].filter(([name]) => isBankVaultsName(name))
  return new Map(prefixed.map(([name, value]) => [name.slice(name.indexOf('/') + 1), value]))
}

/**
 * Converts how Vault is reached, and the paths whose keys all become variables.
 * @returns the files with the variables of these paths
 */
export function convertAnnotations(
  workload: Workload,
  draft: ImportDraft,
  annotations: ReadonlyMap<string, string>,
): string[] {
  convertRole(workload, draft, annotations.get('vault-role'))
  convertMethod(draft, annotations.get('vault-auth-method'))
  setAuthPath(draft, annotations.get('vault-path'))
  setAccess(draft, 'namespace', annotations.get('vault-namespace') || undefined)
  setAddress(draft, annotations.get('vault-addr'))
  const secret = annotations.get('vault-tls-secret')
  if (secret) setAccess(draft, 'caCertRef', { kind: 'Secret', name: secret, key: 'ca.crt' })
  setSkipVerify(draft, isTrue(annotations.get('vault-skip-verify')))
  if (isTrue(annotations.get('vault-ignore-missing-secrets'))) {
    const note = toDo(
      'a template still fails when its key is missing: check that the keys exist, or remove the line',
    )
    setAccess(draft, 'missingPolicy', 'Ignore', note)
  }
  for (const [name, value] of annotations) {
    if (CONVERTED.includes(name) || OF_THE_WEBHOOK.test(name)) continue
    draft.notes.push(
      noCounterpart(
        `annotation ${name}: ${JSON.stringify(value)}`,
        LOST.get(name) ?? 'check whether it still matters',
      ),
    )
  }
  const paths = (annotations.get('vault-env-from-path') ?? annotations.get('vault-from-path') ?? '').split(
    ',',
  )
  return paths.filter((path) => path.trim() !== '').flatMap((path) => convertPath(draft, path))
}

function convertRole(workload: Workload, draft: ImportDraft, role: string | undefined): void {
  if (role) {
    setAccess(draft, 'role', role)
    return
  }
  const account = serviceAccountOf(workload)
  setAccess(
    draft,
    'role',
    account,
    toDo('vault-role was not set, so the role is named like the service account; check that it exists'),
  )
}

function convertMethod(draft: ImportDraft, method: string | undefined): void {
  if (!method || method === 'kubernetes') return
  if (method === 'jwt') {
    setAccess(draft, 'authMethod', 'jwt')
    return
  }
  draft.notes.push(
    noCounterpart(
      `vault-auth-method ${method}`,
      'give the service account a role of an auth method kubernetes or jwt',
    ),
  )
}

/** `PATH` or `PATH#VERSION`. */
function convertPath(draft: ImportDraft, reference: string): string[] {
  const [path = '', version] = reference.trim().split('#')
  const called = vaultCall(path, { version: Number(version ?? 0) || undefined })
  if ('fault' in called) {
    draft.notes.push(noCounterpart(`vault-env-from-path: ${called.fault}`, 'rename the path in Vault'))
    return []
  }
  const { call } = called
  const { name } = takeFileName(draft, `${call.path.split('/').at(-1)}.env`)
  if (call.version === undefined) {
    draft.dataFrom.push({ path: call.path, format: 'Shell', fileName: name, notes: [] })
    return [name]
  }
  // dataFrom always reads the latest version.
  const body = [
    { text: 'export ' },
    { loop: 'key', filters: [] },
    { text: '=' },
    { loop: 'value', filters: ['shell_quote'] },
    { text: '\n' },
  ] as const
  draft.files.push({
    name,
    parts: [{ each: call, keys: [], body }],
    encoding: 'utf-8',
    mode: undefined,
    notes: [],
  })
  return [name]
}
