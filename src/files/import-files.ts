import { isDeepStrictEqual } from 'node:util'
import { scrub } from '../core/faults/fault.ts'
import { type ImportSpec, identifyImport, type ParsedImport } from '../core/imports/import.ts'
import type { ValidateImport } from '../core/ports/sandbox.ts'
import { parseYaml } from './yaml.ts'

/** Of one import, in memory, logs and messages. */
const MOST_FAULTS = 50

/** One import as a file last told it. kept: its manifest is faulty now, the last good one stays in force. */
export type ImportEntry = Readonly<{ namespace: string; name: string }> &
  (
    | { state: 'good'; spec: ImportSpec }
    | { state: 'kept'; spec: ImportSpec; faults: readonly string[] }
    | { state: 'bad'; faults: readonly string[] }
  )

export type ImportFile = Readonly<{
  text: string
  entries: readonly ImportEntry[]
  /** What is wrong in it, each beginning with the document's number. */
  faults: readonly string[]
}>

/** A duplicate: `file` names an import that `winner` already names. */
export type Duplicate = Readonly<{ namespace: string; name: string; file: string; winner: string }>

/**
 * Reads the manifests of one file, several documents or a List in each.
 * @param before the same file as it was: what is faulty now stays as it was good then
 * @throws the signal's reason
 */
export async function readImportFile(
  text: string,
  before: ImportFile | undefined,
  judge: ValidateImport,
  signal: AbortSignal,
): Promise<ImportFile> {
  const entries: ImportEntry[] = []
  const faults: string[] = []
  let isAllIdentified = true
  for (const [index, document] of parseYaml(text).entries()) {
    const place = `document ${index + 1}`
    if ('fault' in document) {
      isAllIdentified = false
      faults.push(`${place}: ${document.fault}`)
      continue
    }
    for (const manifest of manifestsIn(document.value)) {
      const identity = identifyImport(manifest)
      const parsed = await judged(manifest, identity?.namespace ?? '', judge, signal)
      if ('faults' in parsed) faults.push(...parsed.faults.map((fault) => `${place}: ${fault}`))
      if (identity === undefined) isAllIdentified = false
      else entries.push(toEntry(identity, parsed, before))
    }
  }
  // A document that cannot be told from another may be any of those that are missing now.
  const missing = isAllIdentified
    ? []
    : lastGoodOf(before, faults).filter((entry) => !entries.some(sameImport(entry)))
  return { text, entries: [...entries, ...missing], faults }
}

/** The winning entry for each import; of several files the first by name wins, in one file the first document. */
export function indexImports(files: ReadonlyMap<string, ImportFile>): {
  entries: Map<string, ImportEntry>
  duplicates: Duplicate[]
} {
  const entries = new Map<string, ImportEntry>()
  const fileOf = new Map<string, string>()
  const duplicates: Duplicate[] = []
  for (const [file, { entries: own }] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
    for (const entry of own) {
      const { namespace, name } = entry
      const key = importKey(namespace, name)
      const winner = fileOf.get(key)
      if (winner !== undefined) duplicates.push({ namespace, name, file, winner })
      if (winner !== undefined) continue
      entries.set(key, entry)
      fileOf.set(key, file)
    }
  }
  return { entries, duplicates }
}

/** Imports whose spec in force is another one, or gone, or new. */
export function changedImports(
  before: ReadonlyMap<string, ImportEntry>,
  after: ReadonlyMap<string, ImportEntry>,
): { namespace: string; name: string }[] {
  const keys = new Set([...before.keys(), ...after.keys()])
  return [...keys].flatMap((key) => {
    const old = before.get(key)
    const entry = after.get(key) ?? old
    const isSame = isDeepStrictEqual(specInForce(old), specInForce(after.get(key)))
    return isSame || entry === undefined ? [] : [{ namespace: entry.namespace, name: entry.name }]
  })
}

/** Neither part can hold a slash: both are Kubernetes names, and what is none is never asked for. */
export function importKey(namespace: string, name: string): string {
  return `${namespace}/${name}`
}

export function specInForce(entry: ImportEntry | undefined): ImportSpec | undefined {
  return entry === undefined || entry.state === 'bad' ? undefined : entry.spec
}

/** Whatever judging does wrong is that import's own fault. */
async function judged(
  manifest: unknown,
  namespace: string,
  judge: ValidateImport,
  signal: AbortSignal,
): Promise<ParsedImport> {
  try {
    const parsed = await judge(manifest, namespace, signal)
    if ('spec' in parsed) return parsed
    const more = parsed.faults.length - MOST_FAULTS
    const faults = parsed.faults.slice(0, MOST_FAULTS)
    return { faults: more > 0 ? [...faults, `and ${more} more`] : faults }
  } catch (error) {
    signal.throwIfAborted()
    return {
      faults: [`it could not be judged: ${error instanceof Error ? scrub(error.message) : 'unknown error'}`],
    }
  }
}

function toEntry(
  identity: { namespace: string; name: string },
  parsed: ParsedImport,
  before: ImportFile | undefined,
): ImportEntry {
  if ('spec' in parsed) return { ...identity, state: 'good', spec: parsed.spec }
  const { faults } = parsed
  const spec = specInForce(before?.entries.find(sameImport(identity)))
  return spec === undefined
    ? { ...identity, state: 'bad', faults }
    : { ...identity, state: 'kept', spec, faults }
}

function lastGoodOf(before: ImportFile | undefined, faults: readonly string[]): ImportEntry[] {
  return (before?.entries ?? []).flatMap((entry) => {
    const spec = specInForce(entry)
    return spec === undefined
      ? []
      : [{ namespace: entry.namespace, name: entry.name, state: 'kept', spec, faults }]
  })
}

function sameImport(one: { namespace: string; name: string }) {
  return (other: ImportEntry) => other.namespace === one.namespace && other.name === one.name
}

/** `kubectl get ssi -o yaml` writes a List. */
function manifestsIn(value: unknown): unknown[] {
  const isObject = typeof value === 'object' && value !== null
  const isList =
    isObject && 'kind' in value && (value.kind === 'List' || value.kind === 'SecretsStoreImportList')
  return isList && 'items' in value && Array.isArray(value.items) ? value.items : [value]
}
