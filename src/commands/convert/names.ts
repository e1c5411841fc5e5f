const LONGEST_FILE_NAME = 255
const LONGEST_OBJECT_NAME = 253

/** Makes names unique: the second `app` becomes `app-2`. */
export type Names = { take(wanted: string): string }

/** @param separator before the number */
export function createNames(separator: '-' | '_', taken: Iterable<string> = []): Names {
  const used = new Set(taken)
  return {
    take(wanted) {
      let name = wanted
      for (let number = 2; used.has(name); number++) name = `${wanted}${separator}${number}`
      used.add(name)
      return name
    },
  }
}

/** A valid file name for an import: other characters become `_`. */
export function fileNameOf(name: string): string {
  const clean = name
    .replaceAll(/[^-_a-zA-Z0-9.]/g, '_')
    .replace(/^\.(?=\.|$)/, '_')
    .slice(0, LONGEST_FILE_NAME)
  return clean === '' ? '_' : clean
}

/** A valid name for a Kubernetes object. */
export function objectNameOf(name: string): string {
  const clean = name
    .toLowerCase()
    .replaceAll(/[^-a-z0-9.]+/g, '-')
    .replaceAll(/\.+/g, '.')
    .split('.')
    .map((label) => label.replace(/^-+|-+$/g, ''))
    .filter(Boolean)
    .join('.')
    .slice(0, LONGEST_OBJECT_NAME)
    .replace(/[-.]+$/, '')
  return clean === '' ? 'app' : clean
}

/** A name for a source that templates can use without brackets: `my_app` for `secret/data/my-app`. */
export function sourceNameOf(path: string): string {
  const lastSegment = path.split('/').filter(Boolean).at(-1) ?? ''
  const clean = lastSegment
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '_')
    .replace(/^[_0-9]+|_+$/g, '')
    .slice(0, 56)
  return clean === '' || clean === 'data' ? 'source' : clean
}
