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
  /** Sources that the template names. */
  named: readonly NamedCall[]
  /** Of all sources of the import: one of them is meant where a template misspells it. */
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
  /** undefined with format Files alone. */
  fileName: string | undefined
}

/** A file that holds the pod's own Vault identity. */
export type CredentialSpec = {
  format: CredentialFormat
  name: string
  mode: number | undefined
  /** AppRole of SecretID and WrappedSecretID, and its auth mount. */
  role: string
  authPath: string
}

/** A Kubernetes Secret kept in step with files of the import. */
export type SecretSyncSpec = {
  name: string
  type: string
  deletionPolicy: DeletionPolicy
  data: readonly { key: string; file: string }[]
}

/** A key of a Secret in the import's own namespace. */
export type SecretKeyRef = { name: string; key: string }

/** Where the CA of `address` stands, in the import's own namespace. */
export type CaCertRef = { kind: 'ConfigMap' | 'Secret'; name: string; key: string }

/** A SecretsStoreImport, checked and with defaults in place; undefined means "the plugin's setting". */
export type ImportSpec = {
  name: string
  namespace: string
  authMethod: 'kubernetes' | 'jwt' | 'approle'
  /** Set with authMethod approle alone. */
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

/** Either the import, or every fault of its manifest, each beginning with the field: `spec.role: required`. */
export type ParsedImport = { spec: ImportSpec } | { faults: string[] }

/**
 * Checks a SecretsStoreImport manifest and puts defaults in place. What only this node's settings can judge
 * (addresses, the floor of refreshInterval) is left to policy.ts. Never throws: whatever judging does wrong is a fault
 * of this import alone, for others of the same list must not suffer from it.
 * @param manifest parsed JSON or YAML; read YAML as version 1.1, or 0644 is not what kubectl users mean by it
 */
export function parseImport(manifest: unknown, templates = createTemplates()): ParsedImport {
  try {
    return judge(manifest, templates)
  } catch (error) {
    const name = error instanceof Error ? error.name : typeof error
    return { faults: [`the manifest could not be judged: ${name}`] }
  }
}

function judge(manifest: unknown, { check }: Templates): ParsedImport {
  const bound = boundManifest(manifest)
  if ('faults' in bound) return { faults: limitFaults(bound.faults) }
  const { value } = bound
  const checked = manifestSchema.safeParse(value)
  const found = checked.success ? [] : describeIssues(checked.error.issues, value)
  const faults = [...found, ...crossFieldFaults(value, check)]
  if (!checked.success || faults.length > 0) return { faults: limitFaults(faults) }
  return { spec: toSpec(checked.data, check) }
}

/** The import that a manifest, be it faulty, says it is. */
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
  const mentioned = namesIn(file.template, check)
  return {
    name: file.name,
    // One of them is there: crossFaults saw to it.
    call: calls.get(ref ?? '') ?? readCall(path ?? ''),
    key,
    template: file.template,
    named: mentioned.size === 0 ? [] : sources.filter(({ name }) => mentioned.has(name)),
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
