import { createTemplates, type Templates } from '../render/template.ts'
import { boundManifest } from './bounds.ts'
import { type Call, type NamedCall, readCall, sourceCall } from './calls.ts'
import { crossFieldFaults, fieldOf } from './cross-field-rules.ts'
import { type Manifest, type ManifestFile, manifestSchema } from './schema.ts'
import { describeIssues, limitFaults } from './schema-faults.ts'

export type UpdateMode = 'Live' | 'InPlace' | 'Atomic'
export type Encoding = 'utf-8' | 'base64' | 'hex'

export type DataFormat = 'Files' | 'JSON' | 'Dotenv' | 'Shell' | 'Properties'
export type CredentialFormat = 'Token' | 'KubernetesVaultToken' | 'SecretID' | 'WrappedSecretID' | 'CABundle'
export type DeletionPolicy = 'Delete' | 'Retain'

export type FileSpec = {
  name: string
  call: Call
  /** Exactly one of key and template is set. */
  key: string | undefined
  template: string | undefined
  /** Sources that the template uses. */
  named: readonly NamedCall[]
  /** All sources of the import: available names for a template with an unknown one. */
  sourceNames: readonly string[]
  encoding: Encoding
  /** Permission bits; undefined: defaultMode, else 0640 with an fsGroup and 0644 without. */
  mode: number | undefined
  optional: boolean
}

/** Every key of a path. */
export type DataFromSpec = {
  call: Call
  prefix: string
  /** Regular expressions; undefined: all, none. */
  include: string | undefined
  exclude: string | undefined
  format: DataFormat
  /** undefined only with format Files. */
  fileName: string | undefined
}

/** A file with a Vault credential of the pod. */
export type CredentialSpec = {
  format: CredentialFormat
  name: string
  mode: number | undefined
  /** AppRole of SecretID and WrappedSecretID, and its auth mount. */
  role: string
  authPath: string
}

/** A synced Secret, made from files of the import. */
export type SecretSyncSpec = {
  name: string
  type: string
  deletionPolicy: DeletionPolicy
  data: readonly { key: string; file: string }[]
}

/** A key of a Secret in the import's namespace. */
export type SecretKeyRef = { name: string; key: string }

/** The object with the CA of `address`, in the import's namespace. */
export type CaCertRef = { kind: 'ConfigMap' | 'Secret'; name: string; key: string }

/** A SecretsStoreImport, validated and with defaults; undefined means "the plugin's setting". */
export type ImportSpec = {
  name: string
  namespace: string
  authMethod: 'kubernetes' | 'jwt' | 'approle'
  /** Set only with authMethod approle. */
  appRole: { roleId: string; secretIdRef: SecretKeyRef } | undefined
  role: string
  authPath: string | undefined
  vaultNamespace: string | undefined
  address: string | undefined
  caCert: string | undefined
  /** Never together with caCert. */
  caCertRef: CaCertRef | undefined
  tlsServerName: string | undefined
  skipTLSVerify: boolean
  audience: string | undefined
  refreshIntervalMs: number | undefined
  updateMode: UpdateMode
  missingPolicy: 'Fail' | 'Ignore'
  defaultMode: number | undefined
  files: readonly FileSpec[]
  dataFrom: readonly DataFromSpec[]
  credentials: readonly CredentialSpec[]
  secretSync: readonly SecretSyncSpec[]
}

/** The import, or all faults of its manifest, each starting with the field: `spec.role: required`. */
export type ParsedImport = { spec: ImportSpec } | { faults: string[] }

/**
 * Validates a SecretsStoreImport manifest and applies defaults. Rules that depend on this node's settings (addresses, the
 * floor of refreshInterval) are in policy.ts. Never throws: an unexpected error is a fault of this import, so that it does
 * not affect other imports of the same list.
 * @param manifest parsed JSON, or YAML 1.1, in which 0644 is octal as with kubectl
 */
export function parseImport(manifest: unknown, templates = createTemplates()): ParsedImport {
  try {
    return validate(manifest, templates)
  } catch (error) {
    const name = error instanceof Error ? error.name : typeof error
    return { faults: [`the manifest could not be judged: ${name}`] }
  }
}

function validate(manifest: unknown, { check }: Templates): ParsedImport {
  const bound = boundManifest(manifest)
  if ('faults' in bound) return { faults: limitFaults(bound.faults) }
  const { value } = bound
  const checked = manifestSchema.safeParse(value)
  const found = checked.success ? [] : describeIssues(checked.error.issues, value)
  const faults = [...found, ...crossFieldFaults(value, check)]
  if (!checked.success || faults.length > 0) return { faults: limitFaults(faults) }
  return { spec: toSpec(checked.data, check) }
}

/** Namespace and name of a manifest, which may be invalid. */
export function identifyImport(manifest: unknown): { namespace: string; name: string } | undefined {
  const metadata = fieldOf(manifest, 'metadata')
  const namespace = fieldOf(metadata, 'namespace')
  const name = fieldOf(metadata, 'name')
  return typeof namespace === 'string' && typeof name === 'string' ? { namespace, name } : undefined
}

function toSpec({ metadata, spec }: Manifest, check: Templates['check']): ImportSpec {
  const sources = (spec.sources ?? []).map(toNamedCall)
  const sourceNames = sources.map(({ name }) => name)
  const calls = new Map(sources.map(({ name, call }) => [name, call]))
  return {
    name: metadata.name,
    namespace: metadata.namespace,
    authMethod: spec.authMethod ?? 'kubernetes',
    appRole: spec.appRole,
    role: spec.role,
    authPath: spec.authPath,
    vaultNamespace: spec.namespace,
    address: spec.address,
    caCert: spec.caCert,
    caCertRef: spec.caCertRef,
    tlsServerName: spec.tlsServerName,
    skipTLSVerify: spec.skipTLSVerify ?? false,
    audience: spec.audience,
    refreshIntervalMs: spec.refreshInterval,
    updateMode: spec.updateMode ?? 'Live',
    missingPolicy: spec.missingPolicy ?? 'Fail',
    defaultMode: spec.defaultMode,
    files: (spec.files ?? []).map((file) => toFile(file, { sources, sourceNames, calls, check })),
    dataFrom: (spec.dataFrom ?? []).map(toDataFrom),
    credentials: (spec.credentials ?? []).map((credential) => toCredential(credential, spec.role)),
    secretSync: (spec.secretSync ?? []).map((secret) => ({
      ...secret,
      type: secret.type ?? 'Opaque',
      deletionPolicy: secret.deletionPolicy ?? 'Delete',
    })),
  }
}

type ManifestSpec = Manifest['spec']
type ManifestItem<Name extends 'sources' | 'dataFrom' | 'credentials'> = NonNullable<
  ManifestSpec[Name]
>[number]

function toNamedCall({ name, path, method, version, data, lease }: ManifestItem<'sources'>): NamedCall {
  const { renewAt, revokeOnUnmount } = lease ?? {}
  const call = sourceCall({
    name,
    path,
    method: method ?? 'GET',
    version,
    data,
    lease: lease && { renewAt, revokeOnUnmount },
  })
  return { name, call }
}

type Sources = {
  sources: readonly NamedCall[]
  sourceNames: readonly string[]
  calls: ReadonlyMap<string, Call>
  check: Templates['check']
}

function toFile(file: ManifestFile, { sources, sourceNames, calls, check }: Sources): FileSpec {
  const { path, ref, key } = file.source
  const used = namesIn(file.template, check)
  return {
    name: file.name,
    // crossFieldFaults ensures that exactly one of them is set.
    call: calls.get(ref ?? '') ?? readCall(path ?? ''),
    key,
    template: file.template,
    named: used.size === 0 ? [] : sources.filter(({ name }) => used.has(name)),
    sourceNames,
    encoding: file.decodeBase64 ? 'base64' : (file.encoding ?? 'utf-8'),
    mode: file.mode,
    optional: file.optional ?? false,
  }
}

function namesIn(template: string | undefined, check: Templates['check']): ReadonlySet<string> {
  const checked = template === undefined ? undefined : check(template)
  return new Set(checked && 'names' in checked ? checked.names : [])
}

function toDataFrom({
  path,
  prefix,
  include,
  exclude,
  format,
  fileName,
}: ManifestItem<'dataFrom'>): DataFromSpec {
  return {
    call: readCall(path),
    prefix: prefix ?? '',
    include,
    exclude,
    format: format ?? 'Files',
    fileName,
  }
}

function toCredential(credential: ManifestItem<'credentials'>, role: string): CredentialSpec {
  const { format, name, mode } = credential
  return { format, name, mode, role: credential.role ?? role, authPath: credential.authPath ?? 'approle' }
}
