import { SecretBytes } from '../core/secret.ts'
import { removeTree, unlinkPresent } from './directory.ts'
import type { Disk } from './disk.ts'
import { type HeldFile, isDone, lookAt, openPlain, type StampedFile, writeFile } from './file.ts'
import type { Pace } from './pace.ts'

type Source = { name: string; size: number }

/**
 * Makes `copy` hold what `original` does, knowing no more than the files: one of them is in memory at a time, and no
 * more is read than the volume may hold. What is larger, or no file of ours, stays for the next update to write anew.
 * @param before called for each file of the copy that differs, before it is written
 * @returns the names in the original
 */
export async function mirror(
  disk: Disk,
  original: number,
  copy: number,
  options: {
    sizeBytes: number
    pace: Pace
    before: (original: number, file: StampedFile, held: HeldFile) => void
  },
): Promise<string[]> {
  const { sizeBytes, pace, before } = options
  const sources = listFiles(disk, original)
  const names = new Set(sources.map(({ name }) => name))
  const copied = new Map(listFiles(disk, copy).map(({ name, size }) => [name, size]))
  for (const entry of disk.list(copy)) {
    if (typeof entry.name === 'string' && names.has(entry.name) && copied.has(entry.name)) continue
    await removeTree(disk, copy, entry, pace)
  }
  // Files that give room back before those that take it.
  const growth = ({ name, size }: Source) => size - (copied.get(name) ?? 0)
  let left = sizeBytes
  for (const { name } of sources.toSorted((one, other) => growth(one) - growth(other))) {
    const file = load(disk, original, name, left)
    await pace()
    if (!file) continue
    left -= file.content.byteLength
    const held = copied.has(name) ? lookAt(disk, copy, file) : undefined
    if (!held) unlinkPresent(disk, copy, name)
    else if (!isDone(held, file)) before(original, file, held)
    writeFile(disk, copy, held, file)
  }
  return [...names]
}

function listFiles(disk: Disk, dir: number): Source[] {
  return disk.list(dir).flatMap(({ name, kind }) => {
    if (kind !== 'file' || typeof name !== 'string' || name.startsWith('..')) return []
    const fd = openPlain(disk, dir, name)
    if (fd === undefined) return []
    try {
      return [{ name, size: disk.stat(fd).size }]
    } finally {
      disk.close(fd)
    }
  })
}

/** undefined: it is larger than `limitBytes`, or no file of ours. */
function load(disk: Disk, dir: number, name: string, limitBytes: number): StampedFile | undefined {
  const fd = openPlain(disk, dir, name)
  if (fd === undefined) return undefined
  try {
    const { isFile, links, size, mode, uid, gid, mtimeNs } = disk.stat(fd)
    if (!isFile || links !== 1 || size > limitBytes) return undefined
    // Permission bits only: a setuid bit is nothing that we put there.
    return { name, content: new SecretBytes(disk.read(fd, size)), mode: mode & 0o777, uid, gid, mtimeNs }
  } finally {
    disk.close(fd)
  }
}
