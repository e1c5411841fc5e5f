import { Document, isMap, isSeq, LineCounter, parseAllDocuments, visit } from 'yaml'
import { likeKubectl } from '../../core/imports/kubectl-yaml.ts'
import { type Path, remove } from './edit.ts'

/** One manifest of the input; `document` holds its comments too and is changed in place. */
export type Manifest = {
  document: Document
  kind: string
  name: string
  /** undefined: whoever applies it decides. */
  namespace: string | undefined
}

/** The manifests, or where and why the text cannot be read. The words never quote it: it may hold a Secret. */
export type Input = { manifests: Manifest[] } | { fault: string }

const OPTIONS = { version: '1.1', customTags: likeKubectl, prettyErrors: false, logLevel: 'silent' } as const

/** Reads YAML or JSON, several documents or a List in each. */
export function readInput(text: string): Input {
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
    // Aliases that would grow without bound are found only here.
    return { fault: 'too many aliases, or an alias without its anchor' }
  }
}

/** `kubectl get -o yaml` writes a List: each of its items becomes a document of its own. */
function toManifests(document: Document): Manifest[] {
  const value: unknown = document.toJS()
  const items = document.getIn(['items'], true)
  if (!/List$/.test(textAt(value, 'kind') ?? '') || !isSeq(items)) return [toManifest(plain(document), value)]
  return items.items.filter(isMap).flatMap((item) => {
    const own = new Document(undefined, OPTIONS)
    own.contents = item
    return toManifests(own)
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
 * JSON is written as YAML is written, not as one long line of braces. Aliases are written out: what is changed in one
 * place must not change in another.
 */
function plain(document: Document): Document {
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

/** What the API server adds to a manifest, and refuses or ignores when it is applied again. */
const FIELDS: readonly Path[] = [
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

/** Makes what `kubectl get -o yaml` printed a manifest that can be applied. Others stay as they are. */
export function dropLiveFields({ document }: Manifest): void {
  if (!document.hasIn(['metadata', 'uid'])) return
  for (const path of FIELDS) if (document.hasIn(path)) remove(document, path)
}

/** The member at a path of plain data; undefined where there is none. */
export function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  return path.reduce<unknown>(
    (member, step) => (typeof member === 'object' && member !== null ? Reflect.get(member, step) : undefined),
    value,
  )
}

/** A text at a path; undefined where there is none, or something else. */
export function textAt(value: unknown, ...path: readonly (string | number)[]): string | undefined {
  const member = at(value, ...path)
  return typeof member === 'string' ? member : undefined
}

/** A list at a path; empty where there is none. */
export function listAt(value: unknown, ...path: readonly (string | number)[]): readonly unknown[] {
  const member = at(value, ...path)
  return Array.isArray(member) ? member : []
}

/** Texts by name, numbers and booleans as their text, such as annotations and parameters. */
export function textsAt(value: unknown, ...path: readonly (string | number)[]): Map<string, string> {
  const member = at(value, ...path)
  if (typeof member !== 'object' || member === null || Array.isArray(member)) return new Map()
  const entries = Object.entries(member).filter(([, text]) =>
    ['string', 'number', 'boolean'].includes(typeof text),
  )
  return new Map(entries.map(([name, text]) => [name, String(text)]))
}

/** What Go's ParseBool and its like take for true. */
export function isTrue(text: string | undefined): boolean {
  return /^(1|t|true|yes|y|on)$/i.test(text?.trim() ?? '')
}
