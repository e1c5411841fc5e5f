import { isDeepStrictEqual } from 'node:util'
import { scrub } from '../core/faults/fault.ts'
import { identifyImport, type ParsedImport } from '../core/imports/import.ts'
import {
  faultsOf,
  type ImportState,
  nextImportState,
  notValidated,
  specInForce,
} from '../core/imports/last-good-import.ts'
import type { ValidateImport } from '../core/ports/sandbox.ts'
import { parseYaml } from './yaml.ts'

type ImportRef = Readonly<{ namespace: string; name: string }>

/** One import of a file. */
export type ImportEntry = ImportRef & ImportState

export type ImportFile = Readonly<{
  text: string
  entries: readonly ImportEntry[]
  /** Each begins with the document's number. */
  faults: readonly string[]
}>

/** A duplicate: `file` names an import that `winner` already names. */
export type Duplicate = Readonly<{ namespace: string; name: string; file: string; winner: string }>

/**
 * Reads the manifests of one file, several documents or a List in each.
 * @param before the previous state of the file, whose last good imports stay in force when they are faulty now
 * @throws the signal's reason
 */
export async function readImportFile(
  text: string,
  before: ImportFile | undefined,
  validate: ValidateImport,
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
      const parsed = await validated(manifest, identity?.namespace ?? '', validate, signal)
      const state = nextImportState(identity && before?.entries.find(isSameImport(identity)), parsed)
      faults.push(...faultsOf(state).map((fault) => `${place}: ${fault}`))
      if (identity === undefined) isAllIdentified = false
      else entries.push({ ...identity, ...state })
    }
  }
  // A document without an identity may be any of the imports that are missing now.
  const missing = isAllIdentified
    ? []
    : lastGoodOf(before, faults).filter((entry) => !entries.some(isSameImport(entry)))
  return { text, entries: [...entries, ...missing], faults }
}

/** One entry for each import: the first file by name wins, and in one file the first document. */
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

/** Imports whose spec in force changed, appeared or was removed. */
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

/** Neither part can hold a slash: both are Kubernetes names, and no other is ever requested. */
export function importKey(namespace: string, name: string): string {
  return `${namespace}/${name}`
}

/** A validation that fails is a fault of this import; the others of the file are read. */
async function validated(
  manifest: unknown,
  namespace: string,
  validate: ValidateImport,
  signal: AbortSignal,
): Promise<ParsedImport> {
  try {
    return await validate(manifest, namespace, signal)
  } catch (error) {
    signal.throwIfAborted()
    return notValidated(error instanceof Error ? scrub(error.message) : 'unknown error')
  }
}

function lastGoodOf(before: ImportFile | undefined, faults: string[]): ImportEntry[] {
  return (before?.entries ?? [])
    .filter((entry) => specInForce(entry) !== undefined)
    .map((entry) => ({ namespace: entry.namespace, name: entry.name, ...nextImportState(entry, { faults }) }))
}

function isSameImport(one: ImportRef) {
  return (other: ImportEntry) => other.namespace === one.namespace && other.name === one.name
}

/** `kubectl get ssi -o yaml` writes a List. */
function manifestsIn(value: unknown): unknown[] {
  const isObject = typeof value === 'object' && value !== null
  const isList =
    isObject && 'kind' in value && (value.kind === 'List' || value.kind === 'SecretsStoreImportList')
  return isList && 'items' in value && Array.isArray(value.items) ? value.items : [value]
}
