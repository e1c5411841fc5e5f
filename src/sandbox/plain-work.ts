import type { ImportSpec } from '../core/imports/import.ts'

// What is done on the spot: work that is small, and in which nothing is that a tenant could make long. Most nodes have
// no other, and pay for no second process.

/** Characters of a manifest: what takes some tens of milliseconds at worst, when each field is a fault. */
const SMALL_MANIFEST = 8 * 1024
/** Characters of all values. */
const SMALL_VALUES = 256 * 1024
/** Characters of all values that are taken at all: some times what the largest volumes hold. */
export const MOST_VALUES = 16 << 20

/** Fields whose content is a program, a pattern or a certificate. */
const LONG_FIELDS: ReadonlySet<string> = new Set(['template', 'include', 'exclude', 'caCert'])

/** Counts no further than it needs to. */
export function isPlainManifest(manifest: unknown): boolean {
  const left: unknown[] = [manifest]
  let size = 0
  while (left.length > 0) {
    const value = left.pop()
    size += typeof value === 'string' ? value.length + 2 : 8
    if (typeof value === 'object' && value !== null) {
      for (const key in value) {
        if (LONG_FIELDS.has(key)) return false
        size += key.length + 4
        if (size > SMALL_MANIFEST) return false
        left.push(Reflect.get(value, key))
      }
    }
    if (size > SMALL_MANIFEST) return false
  }
  return true
}

/** @param size characters of all values that the import uses */
export function isPlainRender({ files, dataFrom }: ImportSpec, size: number): boolean {
  const hasTemplate = files.some(({ template }) => template !== undefined)
  const isPlainEntry = ({ include, exclude, format }: ImportSpec['dataFrom'][number]) =>
    include === undefined && exclude === undefined && format === 'Files'
  if (hasTemplate || !dataFrom.every(isPlainEntry)) return false
  // Text is copied as it is, once, and no more of it than the volume holds.
  return size <= SMALL_VALUES || files.every(({ encoding }) => encoding === 'utf-8')
}
