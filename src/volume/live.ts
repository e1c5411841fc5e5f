import type { Clock } from '../core/ports.ts'
import { checkCapacity } from './capacity.ts'
import { ensureDirectory, withDirectory } from './directory.ts'
import type { Disk } from './disk.ts'
import { type HeldFile, type NewFile, sameContent, withFile } from './file.ts'
import type { Layout } from './layout.ts'
import { createPace, type Pace } from './pace.ts'
import { type Change, compare, EMPTY_SLOT, isNothing, readSlot, type Slot, stamp, writeSlot } from './slot.ts'
import { DATA, dataTarget, hasDirectory, swap, tidyLinks, unlinkNames } from './top-level.ts'

export const SLOTS = ['..slot-a', '..slot-b'] as const
type SlotName = (typeof SLOTS)[number]

/**
 * Two slots of real files and `..data` pointing at the active one, as double buffering does.
 *
 * Between updates the slots are equal to the nanosecond: that is what settle() makes, and every update starts
 * from it, so that a process killed at any step leaves nothing to know but the files. An update writes the idle
 * slot, swaps, waits the grace out and settles. Each file has two inodes for ever and both see a modification
 * after the new content is visible, so that a watch set once never misses an update.
 * @param graceMs how long readers that opened a file before the swap are left alone
 */
export function createLive(deps: { disk: Disk; clock: Clock; graceMs: number }): Layout {
  const { disk, clock, graceMs } = deps
  return {
    async apply(root, sizeBytes, files) {
      checkCapacity(files, {
        sizeBytes,
        pageBytes: disk.blockSize(root),
        copies: 2,
        reason: 'Live keeps two copies',
        linkPrefix: `${DATA}/`,
      })
      const pace = createPace()
      const active = activeSlot(disk, root)
      if (active === undefined) return createSlots(disk, root, stampAnew(files, clock), pace)

      const held = await settle(disk, root, active, pace)
      tidy(disk, root, [...held.files.keys()])
      const wanted = stamp(held, files, clock.now())
      const change = compare(held, wanted)
      if (isNothing(change)) return change

      const idle = otherSlot(active)
      await withDirectory(disk, `${root}/${idle}`, (slot) => writeSlot(disk, slot, held, wanted, pace))
      unlinkNames(disk, root, change.removed)
      swap(disk, root, idle)
      tidy(disk, root, names(wanted))
      await clock.sleep(graceMs)
      await settle(disk, root, idle, pace)
      return change
    },

    async repair(root) {
      const active = activeSlot(disk, root)
      if (active === undefined) return false
      const held = await settle(disk, root, active, createPace())
      tidy(disk, root, [...held.files.keys()])
      return true
    },
  }
}

/** First files of a volume. `..data` comes when both slots are whole, the links last. */
async function createSlots(disk: Disk, root: string, wanted: HeldFile[], pace: Pace): Promise<Change> {
  for (const name of SLOTS) {
    const isNew = ensureDirectory(disk, `${root}/${name}`)
    await withDirectory(disk, `${root}/${name}`, async (slot) =>
      writeSlot(disk, slot, isNew ? EMPTY_SLOT : await readSlot(disk, slot, pace), wanted, pace),
    )
  }
  swap(disk, root, SLOTS[0])
  tidy(disk, root, names(wanted))
  return { changed: [], added: names(wanted), removed: [] }
}

/**
 * Makes the retired slot equal to the active one, and has the kernel tell both inodes' watchers of each file
 * whose content differed. The poke goes first: the retired file's time, set last, says that both are done.
 * @returns what the active slot, and now the other too, holds
 */
async function settle(disk: Disk, root: string, active: SlotName, pace: Pace): Promise<Slot> {
  const idle = `${root}/${otherSlot(active)}`
  if (!hasDirectory(disk, root, otherSlot(active))) ensureDirectory(disk, idle)
  return withDirectory(disk, `${root}/${active}`, async (activePath) =>
    withDirectory(disk, idle, async (idlePath) => {
      const held = await readSlot(disk, activePath, pace)
      const retired = await readSlot(disk, idlePath, pace)
      await writeSlot(disk, idlePath, retired, [...held.files.values()], pace, (file, old) => {
        if (old && differs(file, old)) poke(disk, `${activePath}/${file.name}`, file)
      })
      return { files: held.files, strangers: [] }
    }),
  )
}

function differs(file: HeldFile, old: HeldFile): boolean {
  return file.mtimeNs !== old.mtimeNs || !sameContent(file, old)
}

/**
 * Fires IN_MODIFY and IN_CLOSE_WRITE on a file whose content is already right: the kernel counts setting the
 * modification time alone as a modification, even to the value it has (fsnotify_change, ATTR_MTIME without ATTR_ATIME).
 */
function poke(disk: Disk, path: string, file: HeldFile): void {
  withFile(disk, path, file, (fd) => disk.setMtime(fd, file.mtimeNs))
}

function activeSlot(disk: Disk, root: string): SlotName | undefined {
  const to = dataTarget(disk, root)
  return SLOTS.find((slot) => slot === to)
}

function otherSlot(slot: SlotName): SlotName {
  return slot === '..slot-a' ? '..slot-b' : '..slot-a'
}

function tidy(disk: Disk, root: string, files: readonly string[]): void {
  tidyLinks(disk, root, new Set(files), [DATA, ...SLOTS])
}

function stampAnew(files: readonly NewFile[], clock: Clock): HeldFile[] {
  return stamp(EMPTY_SLOT, files, clock.now())
}

function names(files: readonly NewFile[]): string[] {
  return files.map(({ name }) => name)
}
