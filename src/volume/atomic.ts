import type { Clock } from '../core/ports.ts'
import { checkCapacity } from './capacity.ts'
import { openToAll, withDirectory } from './directory.ts'
import type { Disk } from './disk.ts'
import type { HeldFile } from './file.ts'
import type { Layout } from './layout.ts'
import { createPace, type Pace } from './pace.ts'
import { compare, EMPTY_SLOT, isNothing, readSlot, type Slot, stamp, writeSlot } from './slot.ts'
import { DATA, dataTarget, swap, tidyLinks, unlinkNames } from './top-level.ts'

/**
 * A fresh directory with fresh inodes for every change and `..data` pointing at it, as kubelet does for its own
 * Secret volumes: for applications that know that pattern.
 */
export function createAtomic({ disk, clock }: { disk: Disk; clock: Clock }): Layout {
  return {
    async apply(root, sizeBytes, files) {
      checkCapacity(files, {
        sizeBytes,
        pageBytes: disk.blockSize(root),
        copies: 2,
        reason: 'Atomic keeps two copies while it swaps',
        linkPrefix: `${DATA}/`,
      })
      const pace = createPace()
      const held = await readActive(disk, root, pace)
      if (held) tidy(disk, root, held.directory, [...held.slot.files.keys()])
      const old = held?.slot ?? EMPTY_SLOT
      const wanted = stamp(old, files, clock.now())
      const change = compare(old, wanted)
      if (held && isNothing(change)) return change

      const directory = await writeFresh(disk, root, wanted, clock, pace)
      unlinkNames(disk, root, change.removed)
      swap(disk, root, directory)
      tidy(
        disk,
        root,
        directory,
        wanted.map(({ name }) => name),
      )
      return change
    },

    async repair(root) {
      const held = await readActive(disk, root, createPace())
      if (!held) return false
      tidy(disk, root, held.directory, [...held.slot.files.keys()])
      return true
    },
  }
}

async function readActive(
  disk: Disk,
  root: string,
  pace: Pace,
): Promise<{ directory: string; slot: Slot } | undefined> {
  const directory = dataTarget(disk, root)
  if (directory === undefined) return undefined
  const slot = await withDirectory(disk, `${root}/${directory}`, (path) => readSlot(disk, path, pace))
  return { directory, slot }
}

/** @returns the new directory's name */
async function writeFresh(
  disk: Disk,
  root: string,
  wanted: readonly HeldFile[],
  clock: Clock,
  pace: Pace,
): Promise<string> {
  const stamp = new Date(clock.now())
    .toISOString()
    .slice(0, 19)
    .replace(/[^0-9]/g, '_')
  const path = disk.mkdirFresh(`${root}/..${stamp}.`)
  openToAll(disk, path)
  await withDirectory(disk, path, (slot) => writeSlot(disk, slot, EMPTY_SLOT, wanted, pace))
  return path.slice(root.length + 1)
}

function tidy(disk: Disk, root: string, directory: string, names: readonly string[]): void {
  tidyLinks(disk, root, new Set(names), [DATA, directory])
}
