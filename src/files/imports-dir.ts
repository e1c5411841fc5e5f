import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { errorCode, hasCode } from '../core/errno.ts'
import { FaultError } from '../core/faults/fault.ts'
import { type ImportSpec, parseImport } from '../core/imports/import.ts'
import { invalidImport } from '../core/imports/last-good-import.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { ImportSource } from '../core/ports/imports.ts'
import type { Log } from '../core/ports/log.ts'
import type { ValidateImport } from '../core/ports/sandbox.ts'
import {
  changedImports,
  type Duplicate,
  type ImportEntry,
  type ImportFile,
  importKey,
  indexImports,
  readImportFile,
} from './import-files.ts'
import { watchDirectory } from './watch.ts'

/** In a message. */
const MOST_NAMES = 100

type Listener = (namespace: string, name: string) => void

/**
 * SecretsStoreImports from the .yaml, .yml and .json files of one directory, followed as they change.
 * A faulty manifest is logged and leaves the last good one of the same file in force.
 * Scans are serialized, and only a file that changed is validated again.
 * @param deps.validate defaults to parseImport in this process
 */
export function createDirImports(deps: {
  path: string
  log: Log
  clock: Clock
  validate?: ValidateImport
}): ImportSource {
  const { path, log, clock, validate = async (manifest: unknown) => parseImport(manifest) } = deps
  const stop = new AbortController()
  const listeners: Listener[] = []
  let files: ReadonlyMap<string, ImportFile> = new Map()
  let entries: ReadonlyMap<string, ImportEntry> = new Map()
  let knownDuplicates: readonly Duplicate[] = []
  let isListed = false
  let watched: { close(): Promise<void> } | undefined
  let scanned: Promise<void> = Promise.resolve()

  /** @throws the file system's error when the directory cannot be listed */
  async function scan(): Promise<void> {
    const before = entries
    const found: [string, ImportFile][] = []
    for (const name of listManifests(path)) found.push(...(await readOne(name)))
    files = new Map(found)
    const index = indexImports(files)
    entries = index.entries
    logDuplicates(index.duplicates)
    for (const { namespace, name } of changedImports(before, entries)) {
      if (isListed) log.info({ namespace, importName: name }, 'import changed')
      for (const listener of listeners) listener(namespace, name)
    }
  }

  async function readOne(name: string): Promise<[string, ImportFile][]> {
    const before = files.get(name)
    try {
      const text = readFileSync(join(path, name), 'utf8')
      if (before?.text === text) return [[name, before]]
      const file = await readImportFile(text, before, validate, stop.signal)
      if (file.faults.length > 0) log.error({ file: name, faults: file.faults }, 'faulty import manifest')
      return [[name, file]]
    } catch (error) {
      stop.signal.throwIfAborted()
      // Gone since it was listed, or a link that leads nowhere, or a directory of that name.
      if (hasCode(error, 'ENOENT', 'EISDIR')) return []
      log.error({ file: name, error }, 'import manifest cannot be read')
      return before === undefined ? [] : [[name, before]]
    }
  }

  function logDuplicates(duplicates: readonly Duplicate[]): void {
    for (const duplicate of duplicates) {
      const { namespace, name: importName, file, winner } = duplicate
      const isLogged = knownDuplicates.some(
        (old) =>
          old.file === file &&
          old.winner === winner &&
          old.name === importName &&
          old.namespace === namespace,
      )
      if (!isLogged) log.error({ namespace, importName, file, winner }, 'import named twice, the first stays')
    }
    knownDuplicates = duplicates
  }

  function rescan(): Promise<void> {
    scanned = scanned.then(scan).catch((error: unknown) => {
      if (stop.signal.aborted) return
      log.error({ path, error }, 'imports directory cannot be listed, known imports stay')
    })
    return scanned
  }

  return {
    get: async (namespace, name) => pick(entries, namespace, name),
    // The directory is read as a whole: it is the cluster admin's, and small.
    forget: () => {},
    onChange: (listener) => listeners.push(listener),
    async start(signal) {
      try {
        listManifests(path)
        watched = await watchDirectory({ path, clock, log, onChange: () => void rescan(), signal })
      } catch (error) {
        throw signal.aborted ? signal.reason : unavailable(path, error)
      }
      await rescan()
      isListed = true
      log.info({ path, imports: entries.size }, 'imports listed')
    },
    async close() {
      stop.abort()
      await watched?.close()
      await scanned
    },
  }
}

function pick(entries: ReadonlyMap<string, ImportEntry>, namespace: string, name: string): ImportSpec {
  const entry = entries.get(importKey(namespace, name))
  if (entry === undefined) {
    const known = [...entries.values()]
      .filter((other) => other.namespace === namespace)
      .map((other) => other.name)
    throw new FaultError('import_not_found', {
      importName: name,
      podNamespace: namespace,
      known: known.sort().slice(0, MOST_NAMES),
    })
  }
  if (entry.state === 'invalid') throw invalidImport(entry, entry.faults)
  return entry.spec
}

/** A directory that does not exist at start is a mistyped setting; one that goes later is a deployment under way. */
function unavailable(path: string, error: unknown): FaultError {
  return new FaultError(
    'imports_unavailable',
    { reason: `${path}: ${errorCode(error) ?? 'unknown error'}`, setting: '--imports' },
    error,
  )
}

/** Hidden names are editors' drafts and kubelet's own `..data`. */
function listManifests(path: string): string[] {
  return readdirSync(path).filter((name) => /^[^.].*\.(ya?ml|json)$/.test(name))
}
