import { Document, isScalar } from 'yaml'
import { parseImport } from '../../core/imports/import.ts'
import { toDo } from './comment.ts'
import type { DraftFile, ImportDraft } from './draft.ts'
import { addComment, YAML_STYLE } from './edit.ts'
import { type Naming, type Part, toLiquid } from './liquid.ts'
import { createNames, sourceNameOf } from './names.ts'
import { callKey, isLeased, isPlain, type VaultCall } from './vault-call.ts'

type Path = readonly (string | number)[]
type NotedItem = { value: unknown; notes: readonly string[] }
type Sources = {
  nameOf(call: VaultCall): string
  calls: ReadonlyMap<string, { name: string; call: VaultCall }>
}

const TOKEN_EXPORT = toDo('the plugin needs --allow-token-export')
const SECRET_SYNC = toDo('the plugin needs --allow-secret-sync')

/** The import as YAML, with its notes as comments. */
export function showImport(draft: ImportDraft): string {
  const sources = nameSources(draft.files)
  const lists = {
    sources: [...sources.calls.values()].map(({ name, call }) => ({
      value: sourceOf(name, call),
      notes: [],
    })),
    files: draft.files.map((file) => ({ value: fileOf(file, sources), notes: file.notes })),
    dataFrom: draft.dataFrom.map(({ notes, ...value }) => ({ value, notes })),
    credentials: draft.credentials.map(({ notes, format, name, mode, role }) => ({
      value: { format, name, role, mode },
      notes,
    })),
    secretSync: draft.secretSync.map(({ notes, ...value }) => ({ value, notes })),
  } satisfies Record<string, NotedItem[]>
  const manifest = withoutUndefined({
    apiVersion: 'deckhouse.io/v1alpha1',
    kind: 'SecretsStoreImport',
    metadata: { name: draft.name, namespace: draft.namespace },
    spec: { ...orderedAccess(draft), ...valuesOf(lists) },
  })
  const document = new Document(manifest, { version: '1.1', aliasDuplicateObjects: false })
  for (const [list, items] of Object.entries(lists)) {
    for (const [index, { notes }] of items.entries()) addComment(document, ['spec', list, index], notes)
    for (const index of items.keys()) writeModeInOctal(document, ['spec', list, index, 'mode'])
  }
  for (const [field, notes] of draft.accessNotes) addComment(document, ['spec', field], notes)
  if (lists.credentials.some(({ value }) => value.format !== 'CABundle')) {
    addComment(document, ['spec', 'credentials'], [TOKEN_EXPORT])
  }
  if (lists.secretSync.length > 0) addComment(document, ['spec', 'secretSync'], [SECRET_SYNC])
  addComment(document, ['spec'], [...draft.notes, ...faultsOf(manifest, draft).map(toDo)])
  return document.toString(YAML_STYLE)
}

/** Values copied from the input may not be valid in an import. */
function faultsOf(manifest: unknown, { name, namespace }: ImportDraft): string[] {
  const metadata = { name, namespace: namespace ?? 'default' }
  const parsed = parseImport({ ...(manifest as object), metadata })
  return 'faults' in parsed ? parsed.faults : []
}

/** Names for calls that need more than a path, and for those that share a template with others. */
function nameSources(files: readonly DraftFile[]): Sources {
  const calls = new Map<string, { name: string; call: VaultCall }>()
  const names = createNames('_')
  for (const { parts } of files) {
    const fileCalls = callsIn(parts)
    for (const call of fileCalls) {
      const key = callKey(call)
      const isNamed = fileCalls.length > 1 || !isPlain(call)
      if (isNamed && !calls.has(key)) calls.set(key, { name: names.take(sourceNameOf(call.path)), call })
    }
  }
  return { calls, nameOf: (call) => calls.get(callKey(call))?.name ?? '' }
}

function callsIn(parts: readonly Part[]): VaultCall[] {
  const calls = parts.flatMap((part) => ('call' in part ? [part.call] : 'each' in part ? [part.each] : []))
  return [...new Map(calls.map((call) => [callKey(call), call])).values()]
}

function sourceOf(name: string, call: VaultCall): object {
  const { path, method, data, version } = call
  const lease = isLeased(call) ? { revokeOnUnmount: true } : undefined
  return { name, path, method: method === 'GET' ? undefined : method, data, version, lease }
}

function fileOf(file: DraftFile, sources: Sources): object {
  const { name, parts, mode } = file
  const calls = callsIn(parts)
  const [first] = calls
  const place =
    first && (calls.length > 1 || !isPlain(first) ? { ref: sources.nameOf(first) } : { path: first.path })
  const encoding = file.encoding === 'utf-8' ? undefined : file.encoding
  const [only] = parts
  const key =
    parts.length === 1 && only && 'call' in only && only.filters.length === 0
      ? plainKey(only.keys)
      : undefined
  if (key !== undefined) return { name, source: { ...place, key }, encoding, mode }
  const naming: Naming = {
    nameOf: (call) => (calls.length > 1 ? sources.nameOf(call) : undefined),
    names: [...sources.calls.values()].map((source) => source.name),
  }
  return { name, source: place, template: toLiquid(parts, naming), mode }
}

/** The key, if source.key can express it. */
function plainKey([key, ...deeper]: readonly string[]): string | undefined {
  return deeper.length === 0 && key !== undefined && /^[-a-zA-Z0-9_.]+$/.test(key) ? key : undefined
}

/** In the order of the reference documentation. */
function orderedAccess({ access }: ImportDraft): object {
  const {
    role,
    authMethod,
    authPath,
    namespace,
    address,
    caCert,
    caCertRef,
    tlsServerName,
    audience,
    ...rest
  } = access
  return {
    role,
    authMethod,
    authPath,
    namespace,
    address,
    caCert,
    caCertRef,
    tlsServerName,
    audience,
    ...rest,
  }
}

function valuesOf(lists: Readonly<Record<string, readonly NotedItem[]>>): object {
  const filled = Object.entries(lists).filter(([, items]) => items.length > 0)
  return Object.fromEntries(filled.map(([name, items]) => [name, items.map(({ value }) => value)]))
}

function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUndefined)
  if (typeof value !== 'object' || value === null) return value
  const defined = Object.entries(value).filter(([, member]) => member !== undefined)
  return Object.fromEntries(defined.map(([name, member]) => [name, withoutUndefined(member)]))
}

/** The usual notation: 0400, not 256. */
function writeModeInOctal(document: Document, path: Path): void {
  const mode = document.getIn(path, true)
  if (isScalar(mode)) mode.format = 'OCT'
}
