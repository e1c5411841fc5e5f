import { hasCode } from '../core/errno.ts'
import { removeTree, unlinkPresent } from './directory.ts'
import type { Disk } from './disk.ts'
import type { Pace } from './pace.ts'

/** The link through which every path of the volume goes; swapping it changes all files at once. */
export const DATA = '..data'
const DATA_TMP = '..data_tmp'

/** The target of `..data`; undefined unless it is a directory directly in the volume. */
export function dataTarget(disk: Disk, root: number): string | undefined {
  const entries = new Map(disk.list(root).map(({ name, kind }) => [name, kind]))
  if (entries.get(DATA) !== 'link') return undefined
  const to = disk.readlink(root, DATA)
  return to !== DATA && to.startsWith('..') && entries.get(to) === 'directory' ? to : undefined
}

/** Points `..data` at `directory` atomically: a reader never finds it missing. */
export async function swap(disk: Disk, root: number, directory: string, pace: Pace): Promise<void> {
  try {
    disk.symlink(directory, root, DATA_TMP)
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error
    await removeAny(disk, root, DATA_TMP, pace)
    disk.symlink(directory, root, DATA_TMP)
  }
  try {
    disk.rename(root, DATA_TMP, root, DATA)
  } catch (error) {
    // A container replaced it by a directory.
    if (!hasCode(error, 'EISDIR')) throw error
    await removeTree(disk, root, { name: DATA, kind: 'directory' }, pace)
    disk.rename(root, DATA_TMP, root, DATA)
  }
}

async function removeAny(disk: Disk, root: number, name: string, pace: Pace): Promise<void> {
  const found = disk.list(root).find((entry) => entry.name === name)
  if (found) await removeTree(disk, root, found, pace)
}

/**
 * Makes the volume's root hold a link for each of `names`, our own entries in `keep`, and nothing else. Leftovers of a
 * killed process, of another update mode or of a container are removed.
 */
export async function tidyLinks(
  disk: Disk,
  root: number,
  names: ReadonlySet<string>,
  { keep, pace }: { keep: readonly string[]; pace: Pace },
): Promise<void> {
  const linked = new Set<string>()
  for (const entry of disk.list(root)) {
    const { name, kind } = entry
    if (typeof name === 'string') {
      if (keep.includes(name)) continue
      if (names.has(name) && kind === 'link' && disk.readlink(root, name) === linkTo(name)) {
        linked.add(name)
        continue
      }
    }
    await removeTree(disk, root, entry, pace)
  }
  for (const name of names) {
    if (!linked.has(name)) disk.symlink(linkTo(name), root, name)
  }
}

function linkTo(name: string): string {
  return `${DATA}/${name}`
}

/** Removes the links of removed files, right before the swap after which they would dangle. */
export function unlinkNames(disk: Disk, root: number, names: Iterable<string>): void {
  for (const name of names) unlinkPresent(disk, root, name)
}
