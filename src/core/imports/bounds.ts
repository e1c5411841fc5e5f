/** Characters of a manifest as JSON, without metadata and status: etcd takes little more. */
const MAX_CHARACTERS = (1 << 20) + (1 << 16)
/** Values in it: more than twice what full lists hold without spec.sources[].data. */
const MAX_VALUES = 50_000
/** Objects and lists within each other. Our own fields need 7, the rest is for spec.sources[].data. */
const MAX_DEPTH = 64
/** Fields of one object: our own have 25 at most, spec.sources[].data as many as the CRD's maxProperties. */
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

/** What there is to judge, of a size that anybody may look at; or why it is not looked at at all. */
export type BoundManifest = { value: unknown } | { faults: string[] }

/**
 * Bounds a manifest before anything walks through it: judging takes time and stack by what its author wrote.
 * Metadata but name and namespace, and status, are the API server's and are left out. So are fields that say null.
 */
export function boundManifest(manifest: unknown): BoundManifest {
  const judged = judgedParts(manifest)
  const fault = sizeFault(judged)
  if (fault !== undefined) return { faults: [`the manifest ${fault}`] }
  const value = withoutNulls(judged)
  const faults = listFaults(value)
  return faults.length > 0 ? { faults } : { value }
}

function judgedParts(manifest: unknown): unknown {
  if (!isPlain(manifest)) return manifest
  const { status: _unused, metadata, ...judged } = manifest
  if (!isPlain(metadata)) return metadata === undefined ? judged : { ...judged, metadata }
  const { name, namespace } = metadata
  return { ...judged, metadata: { name, namespace } }
}

/** Why it is too large; by a list of what is still to do, for the stack is what a deep one would use up. */
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

/** A field that says null is a field left out, as the API server has it; what a source sends is the author's own. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls)
  if (!isPlain(value)) return value
  const kept = Object.entries(value).filter(([, member]) => member !== null)
  const isSent = (key: string, member: unknown) => key === 'data' && !Array.isArray(member)
  return Object.fromEntries(
    kept.map(([key, member]) => [key, isSent(key, member) ? member : withoutNulls(member)]),
  )
}

function isPlain(value: unknown): value is { [name: string]: unknown } {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
