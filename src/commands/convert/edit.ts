import { type Document, isMap, isNode, isScalar, isSeq } from 'yaml'
import { commentText } from './comment.ts'

export type Path = readonly (string | number)[]

/** Lines are never folded, which would change commands and certificates. */
export const YAML_STYLE = { lineWidth: 0, indentSeq: false } as const

/** Puts notes above the value at a path; above its parent when there is no value. */
export function addComment(document: Document, path: Path, notes: readonly string[]): void {
  if (notes.length === 0) return
  const text = commentText(notes)
  const place = commentable(document, path)
  place.commentBefore = place.commentBefore ? `${place.commentBefore}\n${text}` : text
}

type Commentable = { commentBefore?: string | null | undefined }

function commentable(document: Document, path: Path): Commentable {
  const last = path.at(-1)
  const parent = path.length > 1 ? document.getIn(path.slice(0, -1), true) : document.contents
  if (last === undefined) return document
  if (isSeq(parent) && typeof last === 'number') {
    const item = parent.items[last]
    if (isNode(item)) return item
  }
  if (isMap(parent)) {
    const pair = parent.items.find(({ key }) => nameOf(key) === last)
    if (pair !== undefined && !isScalar(pair.key)) pair.key = document.createNode(pair.key)
    if (isScalar(pair?.key)) return pair.key
  }
  return commentable(document, path.slice(0, -1))
}

/** Keys that were set here are plain strings, parsed ones are nodes. */
function nameOf(key: unknown): unknown {
  return isScalar(key) ? key.value : key
}

/** Sets a member of a map: in its old place, else after the first existing member in `after`. */
export function setMember(
  document: Document,
  path: Path,
  name: string,
  value: unknown,
  after: readonly string[],
): void {
  const map = document.getIn(path, true)
  if (!isMap(map) || map.has(name)) {
    document.setIn([...path, name], value)
    return
  }
  const previousIndex = after
    .map((one) => map.items.findIndex(({ key }) => nameOf(key) === one))
    .find((index) => index >= 0)
  map.items.splice((previousIndex ?? map.items.length - 1) + 1, 0, document.createPair(name, value))
}

/** Adds an item to a list, which is created if missing. */
export function appendTo(document: Document, path: Path, value: unknown): void {
  if (isSeq(document.getIn(path, true))) document.addIn(path, document.createNode(value))
  else document.setIn(path, document.createNode([value]))
}

/** Removes the value at a path, and its parent map or list if that is now empty. */
export function remove(document: Document, path: Path): void {
  document.deleteIn(path)
  const parentPath = path.slice(0, -1)
  const parent = document.getIn(parentPath, true)
  if ((isMap(parent) || isSeq(parent)) && parent.items.length === 0 && parentPath.length > 0) {
    document.deleteIn(parentPath)
  }
}
