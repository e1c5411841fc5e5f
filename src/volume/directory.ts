import { FaultError } from '../core/faults/fault.ts'
import type { Name } from './at-calls.ts'
import { type Disk, freshName } from './disk.ts'
import type { Entry } from './entry.ts'
import type { Pace } from './pace.ts'

/** What opening a directory answers for anything else, a link among it. */
const NO_DIRECTORY = ['ENOTDIR', 'ELOOP'] as const
/** What is on its way out of a directory tree: see emptying(). */
const TRASH = '..trash-'
/** System calls for what a container left in its volume, in one go; no mount of ours holds half as much. */
const MOST_REMOVALS = 100_000

/** Opens a directory, and closes it whatever happens. */
export async function withDirectory<Answer>(
  disk: Disk,
  open: () => number,
  use: (dir: number) => Promise<Answer>,
): Promise<Answer> {
  const dir = open()
  try {
    return await use(dir)
  } finally {
    disk.close(dir)
  }
}

/**
 * Opens a directory that containers of any user may enter. It is made unless it is there; a file or a link in its place
 * is removed.
 */
export function ensureDirectory(disk: Disk, parent: number, name: string): number {
  try {
    return openToAll(disk, parent, name)
  } catch (error) {
    if (!hasCode(error, 'ENOENT', ...NO_DIRECTORY)) throw error
  }
  unlinkPresent(disk, parent, name)
  disk.mkdir(parent, name)
  return openToAll(disk, parent, name)
}

/** 0755 whatever the umask, or a container, said. */
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

/** Deletes a file, a link or a whole directory of any depth. @throws FaultError volume_io when it grows all the time */
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

/** removeTree step by step, for whoever counts steps or time. What is gone already is no error. */
export function* removing(disk: Disk, parent: number, entry: Pick<Entry, 'name' | 'kind'>): Generator<void> {
  if (entry.kind !== 'directory') {
    unlinkPresent(disk, parent, entry.name)
    yield
    return
  }
  const doomed = [entry.name]
  for (let name = doomed.pop(); name !== undefined; name = doomed.pop()) {
    yield* emptying(disk, parent, name, doomed)
    // Whatever was put in meanwhile, and the directory with it, is for the next time.
    ignore('ENOENT', () => disk.rmdir(parent, name))
    yield
  }
}

/**
 * Unlinks the files of a directory and moves its directories up beside it, to be emptied in their turn: a tree of any
 * depth takes two descriptors, and no way through `..`, which a container can bend.
 * @param doomed takes the names of what was moved up
 */
function* emptying(disk: Disk, parent: number, name: Name, doomed: Name[]): Generator<void> {
  const dir = openPresent(disk, parent, name)
  if (dir === undefined) return
  try {
    for (const inner of disk.list(dir)) {
      if (inner.kind === 'directory') {
        const moved = freshName(TRASH)
        ignore('ENOENT', () => {
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
  try {
    return disk.openDirectory(parent, name)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

export function unlinkPresent(disk: Disk, parent: number, name: Name): void {
  ignore('ENOENT', () => disk.unlink(parent, name))
}

function ignore(code: string, work: () => void): void {
  try {
    work()
  } catch (error) {
    if (!hasCode(error, code)) throw error
  }
}

export function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}
