import { Document, isMap, isSeq, LineCounter, parseAllDocuments, visit } from 'yaml'
import { kubectlTags } from '../../core/imports/kubectl-yaml.ts'
import { type Path, remove } from './edit.ts'

/** One manifest of the input; `document` includes its comments and is changed in place. */
export type Manifest = {
  document: Document
  kind: string
  name: string
  /** undefined: set when it is applied. */
  namespace: string | undefined
}

/** The manifests, or where and why the text cannot be parsed. A fault never quotes it: it may hold a Secret. */
export type ParsedManifests = { manifests: Manifest[] } | { fault: string }

const OPTIONS = { version: '1.1', customTags: kubectlTags, prettyErrors: false, logLevel: 'silent' } as const

/** Parses YAML or JSON: one or more documents, each a manifest or a List. */
export function parseManifests(text: string): ParsedManifests {
  const lines = new LineCounter()
  const documents = parseAllDocuments(text, { ...OPTIONS, lineCounter: lines })
  for (const document of documents) {
    const [error] = document.errors
    if (error === undefined) continue
    const { line, col } = lines.linePos(error.pos[0])
    return { fault: `line ${line}, column ${col}: ${error.code.toLowerCase().replaceAll('_', ' ')}` }
  }
  try {
    const manifests = documents.filter((document) => isMap(document.contents)).flatMap(toManifests)
    return { manifests }
  } catch {
    // Aliases that expand without bound are detected only by toJS.
    return { fault: 'too many aliases, or an alias without its anchor' }
  }
}

/** `kubectl get -o yaml` writes a List: each item becomes a separate document. */
function toManifests(document: Document): Manifest[] {
  const value: unknown = document.toJS()
  const items = document.getIn(['items'], true)
  if (!/List$/.test(textAt(value, 'kind') ?? '') || !isSeq(items))
    return [toManifest(normalize(document), value)]
  return items.items.filter(isMap).flatMap((item) => {
    const itemDocument = new Document(undefined, OPTIONS)
    itemDocument.contents = item
    return toManifests(itemDocument)
  })
}

function toManifest(document: Document, value: unknown): Manifest {
  return {
    document,
    kind: textAt(value, 'kind') ?? '',
    name:
      textAt(value, 'metadata', 'name') ?? textAt(value, 'metadata', 'generateName')?.replace(/-$/, '') ?? '',
    namespace: textAt(value, 'metadata', 'namespace'),
  }
}

/**
 * JSON becomes block YAML, instead of one long line of braces. Aliases are expanded: a change in one place must not
 * change another.
 */
function normalize(document: Document): Document {
  let hasAlias = false
  visit(document, {
    Alias() {
      hasAlias = true
      return visit.BREAK
    },
  })
  const isJson = isMap(document.contents) && document.contents.flow === true
  return isJson || hasAlias
    ? new Document(document.toJS(), { ...OPTIONS, aliasDuplicateObjects: false })
    : document
}

/** The value at a path of a manifest, as plain data. */
export function readAt({ document }: Manifest, path: readonly (string | number)[]): unknown {
  return at(document.toJS(), ...path)
}

/** Fields that the API server adds, and rejects or ignores when they are applied. */
const LIVE_FIELDS: readonly Path[] = [
  ['status'],
  ['metadata', 'managedFields'],
  ['metadata', 'resourceVersion'],
  ['metadata', 'uid'],
  ['metadata', 'creationTimestamp'],
  ['metadata', 'generation'],
  ['metadata', 'selfLink'],
  ['metadata', 'annotations', 'kubectl.kubernetes.io/last-applied-configuration'],
  ['metadata', 'annotations', 'deployment.kubernetes.io/revision'],
]

/** Makes the output of `kubectl get -o yaml` a manifest that can be applied. Other manifests do not change. */
export function dropLiveFields({ document }: Manifest): void {
  if (!document.hasIn(['metadata', 'uid'])) return
  for (const path of LIVE_FIELDS) if (document.hasIn(path)) remove(document, path)
}

/** The value at a path of plain data, if any. */
export function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  return path.reduce<unknown>(
    (member, step) => (typeof member === 'object' && member !== null ? Reflect.get(member, step) : undefined),
    value,
  )
}

/** The string at a path, if there is one. */
export function textAt(value: unknown, ...path: readonly (string | number)[]): string | undefined {
  const member = at(value, ...path)
  return typeof member === 'string' ? member : undefined
}

/** The list at a path; empty if there is none. */
export function listAt(value: unknown, ...path: readonly (string | number)[]): readonly unknown[] {
  const member = at(value, ...path)
  return Array.isArray(member) ? member : []
}

/** Strings by name, with numbers and booleans as strings, such as annotations and parameters. */
export function textsAt(value: unknown, ...path: readonly (string | number)[]): Map<string, string> {
  const member = at(value, ...path)
  if (typeof member !== 'object' || member === null || Array.isArray(member)) return new Map()
  const entries = Object.entries(member).filter(([, text]) =>
    ['string', 'number', 'boolean'].includes(typeof text),
  )
  return new Map(entries.map(([name, text]) => [name, String(text)]))
}

/** Accepts the spellings of Go's ParseBool, and YAML's. */
export function isTrue(text: string | undefined): boolean {
  return /^(1|t|true|yes|y|on)$/i.test(text?.trim() ?? '')
}
