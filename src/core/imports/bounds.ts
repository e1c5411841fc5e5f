/** Characters of a manifest as JSON, without metadata and status: etcd accepts little more. */
const MAX_CHARACTERS = (1 << 20) + (1 << 16)
/** Values in it: more than twice as many as full lists need, spec.sources[].data aside. */
const MAX_VALUES = 50_000
/** Nesting of objects and lists. The schema needs 7 levels, the rest is for spec.sources[].data. */
const MAX_DEPTH = 64
/** Fields of one object: the schema's have at most 25; spec.sources[].data may have the CRD's maxProperties. */
const MAX_FIELDS = 256

/** Items of each list of spec, as the CRD's maxItems. */
export const MAX_ITEMS: ReadonlyMap<string, number> = new Map([
  ['sources', 64],
  ['files', 512],
  ['dataFrom', 64],
  ['credentials', 16],
  ['secretSync', 16],
])
/** Of spec.secretSync[].data. */
export const MAX_KEYS = 256

/** The parts of a manifest to validate, of a bounded size; or why it is too large. */
export type BoundManifest = { value: unknown } | { faults: string[] }

/**
 * Bounds the size of a manifest before it is validated: its author controls the time and stack that this takes.
 * Leaves out status and all metadata but name and namespace, which belong to the API server, and fields that are null.
 */
export function boundManifest(manifest: unknown): BoundManifest {
  const parts = validatedParts(manifest)
  const fault = sizeFault(parts)
  if (fault !== undefined) return { faults: [`the manifest ${fault}`] }
  const value = withoutNulls(parts)
  const faults = listFaults(value)
  return faults.length > 0 ? { faults } : { value }
}

function validatedParts(manifest: unknown): unknown {
  if (!isPlain(manifest)) return manifest
  const { status: _unused, metadata, ...parts } = manifest
  if (!isPlain(metadata)) return metadata === undefined ? parts : { ...parts, metadata }
  const { name, namespace } = metadata
  return { ...parts, metadata: { name, namespace } }
}

/** Why it is too large. Iterative, because a deeply nested manifest would exhaust the stack. */
function sizeFault(root: unknown): string | undefined {
  const open: { value: unknown; depth: number }[] = [{ value: root, depth: 0 }]
  let characters = 0
  let values = 1
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const { value, depth } = next
    characters += typeof value === 'string' ? value.length + 3 : 3
    if (typeof value === 'object' && value !== null) {
      const members = membersOf(value)
      if (members === undefined) return 'must be plain JSON, without YAML tags such as !!binary and !!set'
      if (members.keys.length > MAX_FIELDS) return `must have at most ${MAX_FIELDS} fields in each object`
      if (depth >= MAX_DEPTH) return `must have at most ${MAX_DEPTH} levels of objects and lists`
      values += members.items.length
      for (const key of members.keys) characters += key.length + 3
      if (values > MAX_VALUES) return `must have at most ${MAX_VALUES} values`
      for (const item of members.items) open.push({ value: item, depth: depth + 1 })
    }
    if (characters > MAX_CHARACTERS) return `must have at most ${MAX_CHARACTERS} characters as JSON`
  }
  return undefined
}

function membersOf(value: object): { items: readonly unknown[]; keys: readonly string[] } | undefined {
  if (Array.isArray(value)) return { items: value, keys: [] }
  return isPlain(value) ? { items: Object.values(value), keys: Object.keys(value) } : undefined
}

function listFaults(manifest: unknown): string[] {
  const spec = isPlain(manifest) ? manifest.spec : undefined
  if (!isPlain(spec)) return []
  const ofSpec = [...MAX_ITEMS].flatMap(([name, most]) => lengthFault(`spec.${name}`, spec[name], most))
  if (ofSpec.length > 0 || !Array.isArray(spec.secretSync)) return ofSpec
  return spec.secretSync.flatMap((secret: unknown, index) =>
    isPlain(secret) ? lengthFault(`spec.secretSync[${index}].data`, secret.data, MAX_KEYS) : [],
  )
}

function lengthFault(field: string, list: unknown, most: number): string[] {
  return Array.isArray(list) && list.length > most ? [`${field}: must have at most ${most} items`] : []
}

/** The API server treats a null field as absent. The body of a source's call keeps its nulls. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls)
  if (!isPlain(value)) return value
  const present = Object.entries(value).filter(([, member]) => member !== null)
  const isBody = (key: string, member: unknown) => key === 'data' && !Array.isArray(member)
  return Object.fromEntries(
    present.map(([key, member]) => [key, isBody(key, member) ? member : withoutNulls(member)]),
  )
}

function isPlain(value: unknown): value is { [name: string]: unknown } {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
