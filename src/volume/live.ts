import type { Clock } from '../core/ports/clock.ts'
import { checkCapacity } from './capacity.ts'
import { ensureDirectory, openToAll, withDirectory } from './directory.ts'
import type { Disk } from './disk.ts'
import { type HeldFile, type NewFile, type StampedFile, withFile } from './file.ts'
import type { Layout } from './layout.ts'
import { mirror } from './mirror.ts'
import { createPace, type Pace } from './pace.ts'
import {
  type Change,
  compare,
  deflate,
  isNothing,
  readSlot,
  removeStrangers,
  stamp,
  writeSlot,
} from './slot.ts'
import { DATA, dataTarget, swap, tidyLinks, unlinkNames } from './top-level.ts'

export const SLOTS = ['..slot-a', '..slot-b'] as const
type SlotName = (typeof SLOTS)[number]

/**
 * Two slots of real files and `..data` pointing at the active one, as double buffering does.
 *
 * Between updates the slots are equal to the nanosecond: what differs between them was left by a killed process, and
 * every update finishes it, knowing nothing but the files. An update writes the idle slot, swaps, waits the grace out
 * and makes the retired slot equal too. Each file has two inodes for ever and both see a modification after the new
 * content is visible, so that a watch set once never misses an update.
 * @param graceMs how long readers that opened a file before the swap are left alone
 */
export function createLive(deps: { disk: Disk; clock: Clock; graceMs: number }): Layout {
  const { disk, clock, graceMs } = deps

  async function withSlots<Answer>(
    root: number,
    active: SlotName,
    use: (activeDir: number, idleDir: () => number) => Promise<Answer>,
  ): Promise<Answer> {
    let idleDir: number | undefined
    const idle = () => (idleDir ??= ensureDirectory(disk, root, otherSlot(active)))
    const open = () => openToAll(disk, root, active)
    try {
      return await withDirectory(disk, open, (activeDir) => use(activeDir, idle))
    } finally {
      if (idleDir !== undefined) disk.close(idleDir)
    }
  }

  /** First files of a volume. `..data` comes when both slots are whole, the links last. */
  async function createSlots(root: number, files: readonly NewFile[], pace: Pace): Promise<Change> {
    // Atomic's files, if there are any, are readable until the swap.
    if (dataTarget(disk, root) === undefined) await tidyLinks(disk, root, new Set(), { keep: SLOTS, pace })
    let wanted: StampedFile[] | undefined
    for (const name of SLOTS) {
      const open = () => ensureDirectory(disk, root, name)
      await withDirectory(disk, open, async (dir) => {
        const held = await readSlot(disk, dir, files, pace)
        wanted ??= stamp(held, files, clock.now())
        await writeSlot(disk, dir, held, wanted, pace)
      })
    }
    await swap(disk, root, SLOTS[0], pace)
    const added = namesOf(files)
    await tidy(root, added, pace)
    return { changed: [], added, removed: [] }
  }

  function tidy(root: number, files: readonly string[], pace: Pace): Promise<void> {
    return tidyLinks(disk, root, new Set(files), { keep: [DATA, ...SLOTS], pace })
  }

  return {
    async apply(root, sizeBytes, files) {
      const { pageBytes, totalBytes } = disk.room(root)
      const reason = 'Live keeps two copies'
      checkCapacity(files, { sizeBytes, pageBytes, copies: 2, reason, linkPrefix: `${DATA}/` })
      const pace = createPace()
      const active = activeSlot(disk, root)
      if (active === undefined) return createSlots(root, files, pace)

      return withSlots(root, active, async (activeDir, openIdle) => {
        const read = async (dir: number) =>
          deflate(disk, dir, await readSlot(disk, dir, files, pace), {
            wanted: files,
            limitBytes: totalBytes / 2,
            pace,
          })
        const shown = await read(activeDir)
        await tidy(root, [...shown.files.keys(), ...shown.surplus.keys()], pace)
        await removeStrangers(disk, activeDir, shown, files, pace)
        const idleDir = openIdle()
        const idle = await read(idleDir)
        const wanted = stamp(shown, files, clock.now(), idle)
        const change = compare(shown, wanted)

        await writeSlot(disk, idleDir, idle, wanted, pace, (file, old) => {
          // Left by a killed process; files that change now are made known after the swap.
          if (shown.files.get(file.name)?.hasContent) tell(activeDir, file, old)
        })
        if (isNothing(change)) return change
        unlinkNames(disk, root, shown.surplus.keys())
        await swap(disk, root, otherSlot(active), pace)
        await tidy(root, namesOf(wanted), pace)
        await clock.sleep(graceMs)
        await writeSlot(disk, activeDir, shown, wanted, pace, (file, old) => tell(idleDir, file, old))
        return change
      })
    },

    async repair(root, sizeBytes) {
      const active = activeSlot(disk, root)
      if (active === undefined) return false
      const pace = createPace()
      await withSlots(root, active, async (activeDir, openIdle) => {
        const names = await mirror(disk, activeDir, openIdle(), { sizeBytes, pace, before: tell })
        await tidy(root, names, pace)
      })
      return true
    },
  }

  /**
   * Fires IN_MODIFY and IN_CLOSE_WRITE on a file whose content is already right, unless the other slot's differed in
   * attributes only: the kernel counts setting the modification time alone as a modification, even to the value it has
   * (fsnotify_change, ATTR_MTIME without ATTR_ATIME). It goes first: the other slot's time, set last, says that both
   * are done.
   */
  function tell(dir: number, file: StampedFile, other: HeldFile): void {
    if (other.hasContent && other.mtimeNs === file.mtimeNs) return
    withFile(disk, dir, file.name, other, (fd) => disk.setMtime(fd, file.mtimeNs))
  }
}

function activeSlot(disk: Disk, root: number): SlotName | undefined {
  const to = dataTarget(disk, root)
  return SLOTS.find((slot) => slot === to)
}

function otherSlot(slot: SlotName): SlotName {
  return slot === '..slot-a' ? '..slot-b' : '..slot-a'
}

function namesOf(files: readonly NewFile[]): string[] {
  return files.map(({ name }) => name)
}
