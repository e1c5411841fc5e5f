import { SecretBytes } from '../core/secret.ts'
import { removeTree, unlinkPresent } from './directory.ts'
import type { Disk } from './disk.ts'
import { type ExistingFile, inspectFile, isDone, openPlain, type StampedFile, writeFile } from './file.ts'
import type { Pace } from './pace.ts'

type Source = { name: string; size: number }

/**
 * Makes the idle slot equal to the active one, from the files only: one of them is in memory at a time, and no more is
 * read than the volume may hold. A file that is larger, or not ours, stays for the next update to replace.
 * @param before called for each file of the idle slot that differs, before it is written
 * @returns the names in the active slot
 */
export async function syncIdleSlot(
  disk: Disk,
  active: number,
  idle: number,
  options: {
    sizeBytes: number
    pace: Pace
    before: (active: number, file: StampedFile, existing: ExistingFile) => void
  },
): Promise<string[]> {
  const { sizeBytes, pace, before } = options
  const sources = listFiles(disk, active)
  const names = new Set(sources.map(({ name }) => name))
  const copied = new Map(listFiles(disk, idle).map(({ name, size }) => [name, size]))
  for (const entry of disk.list(idle)) {
    if (typeof entry.name === 'string' && names.has(entry.name) && copied.has(entry.name)) continue
    await removeTree(disk, idle, entry, pace)
  }
  // Files that free space before those that take it.
  const growth = ({ name, size }: Source) => size - (copied.get(name) ?? 0)
  let left = sizeBytes
  for (const { name } of sources.toSorted((one, other) => growth(one) - growth(other))) {
    const file = readFile(disk, active, name, left)
    await pace()
    if (!file) continue
    left -= file.content.byteLength
    const existing = copied.has(name) ? inspectFile(disk, idle, file) : undefined
    if (!existing) unlinkPresent(disk, idle, name)
    else if (!isDone(existing, file)) before(active, file, existing)
    writeFile(disk, idle, existing, file)
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

/** undefined: larger than `limitBytes`, or not a file of ours. */
function readFile(disk: Disk, dir: number, name: string, limitBytes: number): StampedFile | undefined {
  const fd = openPlain(disk, dir, name)
  if (fd === undefined) return undefined
  try {
    const { isFile, links, size, mode, uid, gid, mtimeNs } = disk.stat(fd)
    if (!isFile || links !== 1 || size > limitBytes) return undefined
    // Permission bits only: we never set a setuid bit.
    return { name, content: new SecretBytes(disk.read(fd, size)), mode: mode & 0o777, uid, gid, mtimeNs }
  } finally {
    disk.close(fd)
  }
}
