import { Document, isMap, isSeq, LineCounter, parseAllDocuments, visit } from 'yaml'
import { kubectlTags } from '../../core/imports/kubectl-yaml.ts'
import { at, textAt } from './value.ts'

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

const OPTIONS = { version: '1.1', customTags: kubectlTags, prettyErrors: false, logLevel: 'silent' } as const

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
