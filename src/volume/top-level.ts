import { hasCode, removeTree } from './directory.ts'
import type { Disk } from './disk.ts'

/** The link through which every path of the volume goes; swapping it changes all files at once. */
export const DATA = '..data'
const DATA_TMP = '..data_tmp'

/** Where `..data` points, when that is a name in the volume itself and a directory; undefined otherwise. */
export function dataTarget(disk: Disk, root: string): string | undefined {
  const entries = new Map(disk.list(root).map(({ name, kind }) => [name, kind]))
  if (entries.get(DATA) !== 'link') return undefined
  const to = disk.readlink(`${root}/${DATA}`)
  return to !== DATA && to.startsWith('..') && entries.get(to) === 'directory' ? to : undefined
}

export function hasDirectory(disk: Disk, root: string, name: string): boolean {
  return disk.list(root).some((entry) => entry.name === name && entry.kind === 'directory')
}

/** Points `..data` at `directory` in one step: nobody ever finds it missing. */
export function swap(disk: Disk, root: string, directory: string): void {
  const next = `${root}/${DATA_TMP}`
  try {
    disk.symlink(directory, next)
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error
    disk.unlink(next)
    disk.symlink(directory, next)
  }
  disk.rename(next, `${root}/${DATA}`)
}

/**
 * Makes the top level hold a link for each of `names`, the volume's own entries in `keep`, and nothing else:
 * what a killed process left, or another update mode, goes.
 */
export function tidyLinks(
  disk: Disk,
  root: string,
  names: ReadonlySet<string>,
  keep: readonly string[],
): void {
  const linked = new Set<string>()
  for (const { name, kind } of disk.list(root)) {
    if (keep.includes(name)) continue
    if (names.has(name) && kind === 'link') linked.add(name)
    else removeTree(disk, `${root}/${name}`, kind)
  }
  for (const name of names) {
    if (!linked.has(name)) disk.symlink(`${DATA}/${name}`, `${root}/${name}`)
  }
}

/** Takes the links of removed files away, right before the swap after which they would point nowhere. */
export function unlinkNames(disk: Disk, root: string, names: readonly string[]): void {
  for (const name of names) disk.unlink(`${root}/${name}`)
}
