import type { Facts, Fault } from './facts.ts'

/**
 * The message of a fault: what went wrong, Vault's error text, what was tried, one next step.
 * @param facts names and places only; see Facts
 */
export function explain(fault: Fault, facts: Facts): string {
  const { what, next }: Line = lines[fault](facts)
  const sentence =
    facts.serverMessage && !what.includes(facts.serverMessage) ? `${what}: ${facts.serverMessage}` : what
  const text = [sentence, tried(facts), next && `next: ${next}`].filter(Boolean).join('; ')
  return text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH)}…` : text
}

/** Characters of one message: users choose the length of key names and of an import's values. */
const MAX_LENGTH = 16_384
/** Characters of an available name, and how many are listed. */
const MAX_NAME_LENGTH = 128
const MAX_NAMES = 50

type Line = { what: string; next?: string }

const lines = {
  invalid_request: (f) => ({ what: f.reason ?? 'the request is not valid' }),
  already_exists: (f) => ({
    what: `the target path is already published with other arguments${f.reason ? ` (${f.reason})` : ''}`,
    next: 'delete the pod so that kubelet unpublishes the volume, then create it again',
  }),
  volume_not_found: (f) => ({ what: f.reason ?? 'no such volume is mounted here' }),
  shutting_down: () => ({
    what: 'the plugin is shutting down',
    next: 'nothing: kubelet tries again when the plugin is back',
  }),
  deadline: (f) => ({
    what: `gave up before kubelet's deadline${f.reason ? ` while ${f.reason}` : ''}`,
    next: 'check that Vault answers from this node in time; kubelet tries again by itself',
  }),
  import_not_found: (f) => ({
    what: `SecretsStoreImport ${quote(f.importName)} not found in namespace ${quote(f.podNamespace)}; there ${exist(f.known)}`,
    next: 'create it, or correct volumeAttributes.secretsStoreImport in the pod',
  }),
  import_invalid: (f) => ({
    what: `SecretsStoreImport ${quote(f.importName)} in namespace ${quote(f.podNamespace)} is not valid: ${f.reason ?? 'unknown fault'}`,
    next: 'correct the named fields of the import',
  }),
  imports_unavailable: (f) => ({
    what: `SecretsStoreImports cannot be read${f.reason ? `: ${f.reason}` : ''}`,
    next: f.setting
      ? `correct ${f.setting}`
      : 'wait; it is tried again by itself, and mounted volumes keep their files',
  }),
  reference_missing: (f) => ({
    what: `${f.field ?? 'spec.caCertRef'} of the import leads nowhere: ${f.reason}`,
    next: `create it, or correct ${f.field ?? 'spec.caCertRef'}`,
  }),
  reference_unavailable: (f) => ({
    what: `${f.field ?? 'spec.caCertRef'} of the import cannot be read: ${f.reason}`,
    next: f.setting ? `have the operator set ${f.setting}` : 'wait; it is tried again by itself',
  }),
  policy_refused: (f) => ({
    what: `this node's settings refuse the import: ${f.reason ?? 'not allowed'}`,
    next: `change the import, or have the operator set ${f.setting ?? 'the flag that allows it'}`,
  }),
  token_missing: (f) => ({
    what: f.reason ?? 'kubelet passed no service-account token',
    next: `${f.setting ? `grant the plugin ${f.setting}, or ` : ''}set spec.tokenRequests (${f.audience ? `audience ${quote(f.audience)}` : 'with the audience that Vault expects'}) and requiresRepublish: true on the CSIDriver object`,
  }),
  token_unavailable: (f) => ({
    what: `no service-account token could be requested${f.reason ? `: ${f.reason}` : ''}`,
    next: `see that the API server can be reached from this node; ${again(f)}, and mounted volumes keep their files`,
  }),
  login_denied: (f) => ({
    what: `Vault refused the login${f.reason ? ` (${f.reason})` : ''}`,
    next: f.setting ? `check ${f.setting}` : bindCommand(f),
  }),
  login_reviewer: () => ({
    what: 'Vault could not have the service-account token reviewed by Kubernetes (TokenReview)',
    next: "bind the reviewer's service account (token_reviewer_jwt of the auth mount, or Vault's own) to the ClusterRole system:auth-delegator; if it is, see Vault's log: kubernetes_host of the mount must be reachable from Vault",
  }),
  login_audience: (f) => ({
    what: `the audience of the service-account token does not fit: wanted ${f.wanted ?? `what role ${quote(f.role)} is bound to (\`bao read auth/${f.authMount}/role/${f.role}\`)`}, got ${quote(f.got ?? f.audience)}`,
    next: "make the role's audience, the import's spec.audience and the CSIDriver's tokenRequests agree",
  }),
  login_mount: (f) => ({
    what: f.reason ? `auth/${f.authMount} ${f.reason}` : `no auth method answers at auth/${f.authMount}`,
    next: f.setting
      ? `correct ${f.setting}`
      : `set spec.authPath of the import (or --vault-auth-path) to a mount that exists, see \`bao auth list\`${f.vaultNamespace ? '' : '; in a Vault namespace set spec.namespace too'}`,
  }),
  read_denied: (f) => ({
    what: `Vault refused to ${(f.capability ?? 'read') === 'read' ? 'read' : 'write to'} ${quote(f.path)}`,
    next:
      mistakenPath(f) ??
      `grant it in a policy of role ${quote(f.role)}: path "${f.path}" { capabilities = ["${f.capability ?? 'read'}"] }`,
  }),
  call_refused: (f) => ({
    what: `Vault took the call to ${quote(f.path)} but refused what it asks for${f.reason ? ` (${f.reason})` : ''}`,
    next:
      f.setting ?? "correct method and data of the source in the import, or what the engine's role allows",
  }),
  path_not_found: (f) => ({
    what: `nothing is stored at ${quote(f.path)}${f.version ? ` as version ${f.version}` : ''}`,
    next: `${mistakenPath(f) ?? (f.version ? 'correct the version of the source in the import' : 'write the secret, or correct source.path in the import')} (missingPolicy: Ignore or optional: true lets it be absent)`,
  }),
  kv2_path: (f) => ({
    what: `${quote(f.path)} is a path of a KV version 2 engine without data/`,
    next: `use path ${quote(f.wanted)}`,
  }),
  version_deleted: (f) => ({
    what: `version ${f.version ?? '?'} of ${quote(f.path)} was ${f.reason ?? 'deleted'}${f.deletedAt ? ` at ${f.deletedAt}` : ''}`,
    next: `${f.reason === 'destroyed' ? 'nothing brings it back' : 'undelete it (`bao kv undelete`)'}; or write a new version, or correct the version of the source in the import`,
  }),
  key_missing: (f) => ({
    what: `${quote(f.path)} has no key ${quote(f.key)}${f.reason ? ` (${f.reason})` : ''}; there ${exist(f.known)}`,
    next: `correct source.key of file ${quote(f.file)}, or add the key in Vault`,
  }),
  tls: (f) => ({
    what: `TLS to ${f.address} failed${f.reason ? ` (${f.reason})` : ''}${f.caSource ? `, checked against ${f.caSource}` : ''}`,
    next: f.setting
      ? `set ${f.setting}`
      : 'set spec.caCert of the import or --vault-ca-cert to the CA that signed the certificate',
  }),
  unreachable: (f) => ({
    what: `Vault at ${f.address} cannot be reached${f.reason ? ` (${f.reason})` : ''}`,
    next: 'check address, DNS and network policy from this node; mounted volumes keep their last good files and it is tried again by itself',
  }),
  sealed: (f) => ({
    what: `Vault at ${f.address} is sealed`,
    next: `unseal it; ${again(f)}`,
  }),
  standby: (f) => ({
    what: `Vault at ${f.address} is a standby that does not forward requests${f.reason ? ` (${f.reason})` : ''}`,
    next: `use the address of the active node or of a load balancer; ${again(f)}`,
  }),
  rate_limited: (f) => ({
    what: f.reason ?? `Vault at ${f.address} asks for fewer requests (429)`,
    next: f.setting ?? `raise Vault's rate limit quota or lower --vault-qps; ${again(f)}`,
  }),
  vault_error: (f) => ({
    what: `Vault at ${f.address} answered ${f.httpStatus ?? 'in an unknown way'}${f.reason ? ` (${f.reason})` : ''}`,
    next: `see Vault's log; ${again(f)}`,
  }),
  decode_failed: (f) => ({
    what: `the value for file ${quote(f.file)} is not valid ${f.wanted ?? 'in its encoding'}`,
    next: "correct the value in Vault, or the file's encoding in the import",
  }),
  template_failed: (f) => ({
    what: `the template of file ${quote(f.file)} failed: ${f.reason ?? 'it could not be rendered'}${f.known ? `; there ${exist(f.known)}` : ''}`,
    next: 'correct spec.files[].template, or write what is missing to Vault',
  }),
  key_unusable: (f) => ({
    what: `key ${quote(f.key)} of ${quote(f.path)} ${f.reason ?? 'cannot be used'}`,
    next: f.setting ?? 'leave it out with dataFrom.exclude, or choose another dataFrom.format',
  }),
  name_taken: (f) => ({
    what: `two files of the import would be named ${quote(f.file)}${f.reason ? ` (${f.reason})` : ''}`,
    next: 'set dataFrom.prefix or dataFrom.exclude, or rename one of them',
  }),
  credential_refused: (f) => ({
    what: `${f.file === undefined ? 'the credential cannot be made' : `file ${quote(f.file)} cannot hold the credential`}: ${f.reason ?? 'refused'}`,
    next: f.setting ?? 'correct spec.credentials of the import',
  }),
  sync_refused: (f) => ({
    what: `Secret ${quote(f.secret)} is not kept in step: ${f.reason ?? 'refused'}`,
    next: f.setting ?? 'choose another name in spec.secretSync, or delete that Secret',
  }),
  sync_invalid: (f) => ({
    what: `Secret ${quote(f.secret)} would not be valid${f.key ? `, key ${quote(f.key)}` : ''}: ${f.reason ?? 'refused'}`,
    next: 'correct spec.secretSync of the import, or the value in Vault; the Secret stays as it is',
  }),
  sync_unavailable: (f) => ({
    what: `Secret ${quote(f.secret)} could not be brought in step: ${f.reason ?? 'the API server does not answer'}`,
    next: f.setting
      ? `have the operator set ${f.setting}`
      : 'wait; it is tried again by itself, and the files are in step',
  }),
  volume_full: (f) => ({
    what: `the files need ${f.sizeBytes} bytes, the volume holds ${f.limitBytes}${f.reason ? ` (${f.reason})` : ''}`,
    next: 'import less, or have the operator raise --max-volume-bytes',
  }),
  budget_exceeded: (f) => ({
    what: `the volumes of ${f.reason ?? 'this node'} may hold ${f.limitBytes} bytes, with this one they would hold ${f.sizeBytes}`,
    next: `import less, remove pods that need no secrets any more, or have the operator raise ${f.setting ?? '--max-node-bytes'}; running pods keep their files`,
  }),
  import_too_large: (f) => ({
    what: `the import asks for more than one import may${f.reason ? `: ${f.reason}` : ''}`,
    next:
      f.setting ??
      'split it into several imports, each with a volume of its own; running pods keep their files',
  }),
  volume_io: (f) => ({
    what: `the volume's files could not be written${f.reason ? `: ${f.reason}` : ''}`,
    next: "see the plugin's log on this node; it is tried again by itself",
  }),
  mount_failed: (f) => ({
    what: `the tmpfs could not be mounted or unmounted${f.reason ? `: ${f.reason}` : ''}`,
    next: 'the plugin needs CAP_SYS_ADMIN and Bidirectional mount propagation of the kubelet directory',
  }),
  internal: (f) => ({
    what: `an unforeseen error of the plugin${f.reason ? `: ${f.reason}` : ''}`,
    next: "see the plugin's log on this node and report it",
  }),
} satisfies Record<Fault, (facts: Facts) => Line>

function tried(f: Facts): string {
  const parts = [
    f.address && `address ${f.address}`,
    f.vaultNamespace && `Vault namespace ${quote(f.vaultNamespace)}`,
    f.authMount && `auth mount ${quote(f.authMount)}`,
    f.role && `role ${quote(f.role)}`,
    f.podNamespace && f.serviceAccount && `service account ${quote(`${f.podNamespace}/${f.serviceAccount}`)}`,
    f.audience && `audience ${quote(f.audience)}`,
    f.path && `path ${quote(f.path)}`,
  ].filter(Boolean)
  return parts.length > 0 ? `tried: ${parts.join(', ')}` : ''
}

/** Paths are often copied from API URLs. Vault denies such a path instead of reporting that it does not exist. */
function mistakenPath({ path = '' }: Facts): string | undefined {
  return path.startsWith('v1/') ? `leave "v1/" out of the path: use ${quote(path.slice(3))}` : undefined
}

function bindCommand(f: Facts): string {
  const role = `bao write auth/${f.authMount}/role/${f.role}`
  if (f.method === 'approle') {
    return `make a new secret ID (\`bao write -f auth/${f.authMount}/role/${f.role}/secret-id\`) and put it into the Secret of spec.appRole.secretIdRef`
  }
  if (f.method === 'jwt') {
    return `bind them: \`${role} role_type=jwt user_claim=sub bound_subject=system:serviceaccount:${f.podNamespace}:${f.serviceAccount} bound_audiences=${f.audience || 'AUDIENCE'} token_policies=POLICY token_ttl=10m\``
  }
  return `bind them: \`${role} bound_service_account_names=${f.serviceAccount} bound_service_account_namespaces=${f.podNamespace} token_policies=POLICY token_ttl=10m\``
}

function again(f: Facts): string {
  return f.retryAfterMs === undefined
    ? 'it is tried again by itself'
    : `it is tried again in ${Math.ceil(f.retryAfterMs / 1000)} s`
}

function exist(names: readonly string[] | undefined): string {
  if (!names || names.length === 0) return 'exist none'
  const shown = names.slice(0, MAX_NAMES).map((name) => name.slice(0, MAX_NAME_LENGTH))
  const more = names.length - shown.length
  return `exist ${shown.map(quote).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

/** Longer than any path of an import. */
function quote(text: string | undefined): string {
  return `"${text?.slice(0, 1_100) ?? ''}"`
}
