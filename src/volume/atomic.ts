import type { Clock } from '../core/ports/clock.ts'
import { openToAll, withDirectory } from './directory.ts'
import { type Disk, freshName } from './disk.ts'
import type { NewFile, StampedFile } from './file.ts'
import { checkCapacity, type Layout } from './layout.ts'
import { DATA, dataTarget, swap, tidyLinks, unlinkNames } from './links.ts'
import { createPace, type Pace } from './pace.ts'
import {
  compare,
  EMPTY_SLOT,
  isNothing,
  readSlot,
  removeForeign,
  type Slot,
  shrinkOversized,
  stamp,
  writeSlot,
} from './slot.ts'

/**
 * A new directory with new inodes for every change, and `..data` pointing at it, as kubelet does for its own Secret
 * volumes: for applications that rely on that pattern.
 */
export function createAtomic({ disk, clock }: { disk: Disk; clock: Clock }): Layout {
  return {
    async apply(root, sizeBytes, files) {
      const { pageBytes, totalBytes } = disk.room(root)
      const reason = 'Atomic keeps two copies while it swaps'
      checkCapacity(files, { sizeBytes, pageBytes, copies: 2, reason, linkPrefix: `${DATA}/` })
      const pace = createPace()
      const directory = dataTarget(disk, root)
      const shown = directory === undefined ? EMPTY_SLOT : await readActive(directory)
      await tidy(disk, root, { directory, names: [...shown.files.keys(), ...shown.unlisted.keys()], pace })
      const wanted = stamp(shown, files, clock.now())
      const change = compare(shown, wanted)
      if (directory !== undefined && isNothing(change)) return change

      const fresh = await writeFresh(disk, root, wanted, clock, pace)
      unlinkNames(disk, root, shown.unlisted.keys())
      await swap(disk, root, fresh, pace)
      await tidy(disk, root, { directory: fresh, names: wanted.map(({ name }) => name), pace })
      return change

      async function readActive(name: string): Promise<Slot> {
        const open = () => openToAll(disk, root, name)
        return withDirectory(disk, open, async (dir) => {
          const found = await readSlot(disk, dir, files, pace)
          const slot = await shrinkOversized(disk, dir, found, {
            wanted: files,
            limitBytes: totalBytes / 2,
            pace,
          })
          await removeForeign(disk, dir, slot, files, pace)
          return slot
        })
      }
    },

    async repair(root) {
      const directory = dataTarget(disk, root)
      if (directory === undefined) return false
      const pace = createPace()
      const open = () => openToAll(disk, root, directory)
      const { unlisted } = await withDirectory(disk, open, (dir) => readSlot(disk, dir, NONE, pace))
      await tidy(disk, root, { directory, names: [...unlisted.keys()], pace })
      return true
    },
  }
}

/** For reading only the names of a slot. */
const NONE: readonly NewFile[] = []

/** @returns the new directory's name */
async function writeFresh(
  disk: Disk,
  root: number,
  wanted: readonly StampedFile[],
  clock: Clock,
  pace: Pace,
): Promise<string> {
  const time = new Date(clock.now())
    .toISOString()
    .slice(0, 19)
    .replace(/[^0-9]/g, '_')
  const name = freshName(`..${time}.`)
  disk.mkdir(root, name)
  const open = () => openToAll(disk, root, name)
  await withDirectory(disk, open, (dir) => writeSlot(disk, dir, EMPTY_SLOT, wanted, pace))
  return name
}

function tidy(
  disk: Disk,
  root: number,
  set: { directory: string | undefined; names: readonly string[]; pace: Pace },
): Promise<void> {
  const { directory, names, pace } = set
  const keep = directory === undefined ? [] : [DATA, directory]
  return tidyLinks(disk, root, new Set(names), { keep, pace })
}
