import { describeIssues } from './import-faults.ts'
import { type Manifest, type ManifestFile, manifestSchema } from './import-schema.ts'

export type UpdateMode = 'Live' | 'InPlace' | 'Atomic'
export type Encoding = 'utf-8' | 'base64' | 'hex'

export type FileSpec = {
  name: string
  path: string
  key: string
  encoding: Encoding
  /** Permission bits; undefined: defaultMode, else 0640 with an fsGroup and 0644 without. */
  mode: number | undefined
  optional: boolean
}

/** Where the CA of `address` stands, in the import's own namespace. */
export type CaCertRef = { kind: 'ConfigMap' | 'Secret'; name: string; key: string }

/** A SecretsStoreImport, checked and with defaults in place; undefined means "the plugin's setting". */
export type ImportSpec = {
  name: string
  namespace: string
  authMethod: 'kubernetes' | 'jwt'
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
}

/** Either the import, or every fault of its manifest, each beginning with the field: `spec.role: required`. */
export type ParsedImport = { spec: ImportSpec } | { faults: string[] }

/**
 * Checks a SecretsStoreImport manifest and puts defaults in place. What only this node's settings can judge
 * (addresses, the floor of refreshInterval) is left to policy.ts.
 * @param manifest parsed JSON or YAML; read YAML as version 1.1, or 0644 is not what kubectl users mean by it
 */
export function parseImport(manifest: unknown): ParsedImport {
  const clean = withoutNulls(manifest)
  const checked = manifestSchema.safeParse(clean)
  const found = checked.success ? [] : describeIssues(checked.error.issues, clean)
  const faults = [...found, ...crossFaults(clean)]
  if (!checked.success || faults.length > 0) return { faults }
  return { spec: toSpec(checked.data) }
}

/** The import that a manifest, be it faulty, says it is. */
export function identifyImport(manifest: unknown): { namespace: string; name: string } | undefined {
  const metadata = fieldOf(manifest, 'metadata')
  const namespace = fieldOf(metadata, 'namespace')
  const name = fieldOf(metadata, 'name')
  return typeof namespace === 'string' && typeof name === 'string' ? { namespace, name } : undefined
}

function toSpec({ metadata, spec }: Manifest): ImportSpec {
  return {
    name: metadata.name,
    namespace: metadata.namespace,
    authMethod: spec.authMethod ?? 'kubernetes',
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
    files: spec.files.map(toFile),
  }
}

function toFile(file: ManifestFile): FileSpec {
  return {
    name: file.name,
    path: file.source.path,
    key: file.source.key,
    encoding: file.decodeBase64 ? 'base64' : (file.encoding ?? 'utf-8'),
    mode: file.mode,
    optional: file.optional ?? false,
  }
}

/** Faults between fields. They look at the raw manifest, so that they are told together with all others. */
function crossFaults(manifest: unknown): string[] {
  const spec = fieldOf(manifest, 'spec')
  const twoCas = Boolean(fieldOf(spec, 'caCert')) && fieldOf(spec, 'caCertRef') !== undefined
  return [
    ...(twoCas ? ['spec.caCertRef: contradicts spec.caCert, keep one'] : []),
    ...fileFaults(fieldOf(spec, 'files')),
  ]
}

function fileFaults(files: unknown): string[] {
  if (!Array.isArray(files)) return []
  const firstByName = new Map<unknown, number>()
  return files.flatMap((file, index) => {
    const faults: string[] = []
    const name = fieldOf(file, 'name')
    const first = firstByName.get(name)
    if (typeof name === 'string' && first !== undefined) {
      faults.push(
        `spec.files[${index}].name: ${JSON.stringify(name)} is already the name of spec.files[${first}]`,
      )
    }
    if (first === undefined) firstByName.set(name, index)
    const encoding = fieldOf(file, 'encoding') ?? 'base64'
    if (fieldOf(file, 'decodeBase64') === true && encoding !== 'base64') {
      faults.push(
        `spec.files[${index}].decodeBase64: true contradicts encoding ${JSON.stringify(encoding)}, keep one`,
      )
    }
    return faults
  })
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
}

/** A field that says null is a field left out, as the API server has it. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls)
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    return value
  const kept = Object.entries(value).filter(([, member]) => member !== null)
  return Object.fromEntries(kept.map(([key, member]) => [key, withoutNulls(member)]))
}
