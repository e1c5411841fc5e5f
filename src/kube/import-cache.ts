import { isDeepStrictEqual } from 'node:util'
import { FaultError } from '../core/errors.ts'
import { type ImportSpec, identifyImport, parseImport } from '../core/import.ts'
import type { Log } from '../core/ports.ts'

/** kept: the object is faulty now, its last good state stays in force. */
type Entry =
  | { state: 'good'; spec: ImportSpec }
  | { state: 'kept'; spec: ImportSpec; faults: readonly string[] }
  | { state: 'bad'; faults: readonly string[] }

/** The imports of the whole cluster as last heard of. */
export type ImportCache = {
  /** @throws FaultError import_not_found naming the imports that exist there, import_invalid */
  get(namespace: string, name: string): ImportSpec
  put(manifest: unknown): void
  remove(manifest: unknown): void
  /** A whole listing: what is not in it is gone. */
  replace(manifests: readonly unknown[]): void
}

/**
 * @param deps.onChange called when the spec in force became another one, came or went
 * @param deps.onJudged called for each manifest that comes, with its faults
 */
export function createImportCache(deps: {
  log: Log
  onChange: (namespace: string, name: string) => void
  onJudged: (manifest: unknown, faults: readonly string[]) => void
}): ImportCache {
  const { log, onChange, onJudged } = deps
  /** By namespace, then by name. */
  const namespaces = new Map<string, Map<string, Entry>>()

  function put(manifest: unknown): void {
    const identity = identifyImport(manifest)
    if (identity === undefined) return
    const { namespace, name } = identity
    const before = namespaces.get(namespace)?.get(name)
    const entry = entryOf(manifest, before)
    const imports = namespaces.get(namespace) ?? new Map<string, Entry>()
    namespaces.set(namespace, imports.set(name, entry))
    tellFaults(namespace, name, before, entry)
    onJudged(manifest, entry.state === 'good' ? [] : entry.faults)
    if (isDeepStrictEqual(specOf(before), specOf(entry))) return
    log.info({ namespace, importName: name }, 'import changed')
    onChange(namespace, name)
  }

  function remove(manifest: unknown): void {
    const identity = identifyImport(manifest)
    if (identity !== undefined) drop(identity.namespace, identity.name)
  }

  function drop(namespace: string, name: string): void {
    const imports = namespaces.get(namespace)
    if (!imports?.delete(name)) return
    if (imports.size === 0) namespaces.delete(namespace)
    log.info({ namespace, importName: name }, 'import deleted')
    onChange(namespace, name)
  }

  function tellFaults(namespace: string, name: string, before: Entry | undefined, entry: Entry): void {
    if (entry.state === 'good') return
    // The same object comes again with every new listing.
    if (before !== undefined && before.state !== 'good' && isDeepStrictEqual(before.faults, entry.faults))
      return
    const fields = { namespace, importName: name, faults: entry.faults }
    if (entry.state === 'kept') log.error(fields, 'import became faulty, the last good one stays in force')
    else log.error(fields, 'faulty import')
  }

  return {
    get(namespace, name) {
      const imports = namespaces.get(namespace)
      const entry = imports?.get(name)
      const where = { importName: name, podNamespace: namespace }
      if (entry === undefined) {
        throw new FaultError('import_not_found', { ...where, known: [...(imports?.keys() ?? [])].sort() })
      }
      if (entry.state === 'bad') {
        throw new FaultError('import_invalid', { ...where, reason: entry.faults.join('; ') })
      }
      return entry.spec
    },
    put,
    remove,
    replace(manifests) {
      const listed = new Set(manifests.map((manifest) => keyOf(identifyImport(manifest))))
      const held = [...namespaces].flatMap(([namespace, imports]) =>
        [...imports.keys()].map((name) => ({ namespace, name })),
      )
      for (const gone of held.filter((identity) => !listed.has(keyOf(identity))))
        drop(gone.namespace, gone.name)
      for (const manifest of manifests) put(manifest)
    },
  }
}

function entryOf(manifest: unknown, before: Entry | undefined): Entry {
  const parsed = parseImport(manifest)
  if ('spec' in parsed) return { state: 'good', spec: parsed.spec }
  const spec = specOf(before)
  return spec === undefined ? { state: 'bad', ...parsed } : { state: 'kept', spec, ...parsed }
}

function specOf(entry: Entry | undefined): ImportSpec | undefined {
  return entry === undefined || entry.state === 'bad' ? undefined : entry.spec
}

/** Neither part can hold a slash. */
function keyOf(identity: { namespace: string; name: string } | undefined): string {
  return `${identity?.namespace}/${identity?.name}`
}
