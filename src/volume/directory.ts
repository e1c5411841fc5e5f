import { hasCode, ignoreCode } from '../core/errno.ts'
import { FaultError } from '../core/faults/fault.ts'
import type { Entry, Name } from './at-calls.ts'
import { type Disk, freshName } from './disk.ts'
import type { Pace } from './pace.ts'

/** Errors of opening a directory where something else is, such as a link. */
const NOT_A_DIRECTORY = ['ENOTDIR', 'ELOOP'] as const
/** Prefix of directories that are about to be deleted: see emptying(). */
const TRASH = '..trash-'
/** Most removals in one call, of entries that a container left in its volume; no mount of ours holds half as many. */
const MOST_REMOVALS = 100_000

/** Opens a directory, and closes it in any case. */
export async function withDirectory<Result>(
  disk: Disk,
  open: () => number,
  use: (dir: number) => Promise<Result>,
): Promise<Result> {
  const dir = open()
  try {
    return await use(dir)
  } finally {
    disk.close(dir)
  }
}

/**
 * Opens a directory that containers of any user may enter, and creates it where it is missing. A file or a link in its
 * place is removed.
 */
export function ensureDirectory(disk: Disk, parent: number, name: string): number {
  try {
    return openToAll(disk, parent, name)
  } catch (error) {
    if (!hasCode(error, 'ENOENT', ...NOT_A_DIRECTORY)) throw error
  }
  unlinkPresent(disk, parent, name)
  disk.mkdir(parent, name)
  return openToAll(disk, parent, name)
}

/** Opens with mode 0755, regardless of the umask and of what a container did. */
export function openToAll(disk: Disk, parent: number, name: string): number {
  const dir = disk.openDirectory(parent, name)
  try {
    if (disk.stat(dir).mode !== 0o755) disk.chmod(dir, 0o755)
    return dir
  } catch (error) {
    disk.close(dir)
    throw error
  }
}

/** Deletes a file, a link or a whole directory of any depth. @throws FaultError volume_io when it keeps growing */
export async function removeTree(
  disk: Disk,
  parent: number,
  entry: Pick<Entry, 'name' | 'kind'>,
  pace: Pace,
): Promise<void> {
  let removals = 0
  for (const _ of removing(disk, parent, entry)) {
    if (++removals > MOST_REMOVALS) {
      throw new FaultError('volume_io', {
        reason: `more than ${MOST_REMOVALS} foreign entries in the volume`,
      })
    }
    await pace()
  }
}

/** removeTree step by step, for callers that limit steps or time. A missing entry is not an error. */
export function* removing(disk: Disk, parent: number, entry: Pick<Entry, 'name' | 'kind'>): Generator<void> {
  if (entry.kind !== 'directory') {
    unlinkPresent(disk, parent, entry.name)
    yield
    return
  }
  const doomed = [entry.name]
  for (let name = doomed.pop(); name !== undefined; name = doomed.pop()) {
    yield* emptying(disk, parent, name, doomed)
    // Fails with ENOTEMPTY when a container adds to it meanwhile; the next call removes that too.
    ignoreCode(['ENOENT'], () => disk.rmdir(parent, name))
    yield
  }
}

/**
 * Unlinks the files of a directory and moves its directories up beside it, to be emptied later: a tree of any depth
 * takes two descriptors and never `..`, which a container can redirect.
 * @param doomed receives the names of the moved directories
 */
function* emptying(disk: Disk, parent: number, name: Name, doomed: Name[]): Generator<void> {
  const dir = openPresent(disk, parent, name)
  if (dir === undefined) return
  try {
    for (const inner of disk.list(dir)) {
      if (inner.kind === 'directory') {
        const moved = freshName(TRASH)
        ignoreCode(['ENOENT'], () => {
          disk.rename(dir, inner.name, parent, moved)
          doomed.push(moved)
        })
      } else unlinkPresent(disk, dir, inner.name)
      yield
    }
  } finally {
    disk.close(dir)
  }
}

function openPresent(disk: Disk, parent: number, name: Name): number | undefined {
  return ignoreCode(['ENOENT'], () => disk.openDirectory(parent, name))
}

export function unlinkPresent(disk: Disk, parent: number, name: Name): void {
  ignoreCode(['ENOENT'], () => disk.unlink(parent, name))
}
