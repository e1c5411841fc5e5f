import type { Clock } from '../core/ports/clock.ts'
import { ensureDirectory, openToAll, withDirectory } from './directory.ts'
import type { Disk } from './disk.ts'
import { type ExistingFile, type NewFile, type StampedFile, withFile } from './file.ts'
import { checkCapacity, type Layout } from './layout.ts'
import { DATA, dataTarget, swap, tidyLinks, unlinkNames } from './links.ts'
import { createPace, type Pace } from './pace.ts'
import {
  type Change,
  compare,
  isNothing,
  readSlot,
  removeForeign,
  shrinkOversized,
  stamp,
  writeSlot,
} from './slot.ts'
import { syncIdleSlot } from './sync-idle-slot.ts'

export const SLOTS = ['..slot-a', '..slot-b'] as const
type SlotName = (typeof SLOTS)[number]

/**
 * Two slots of real files, and `..data` pointing at the active one: double buffering.
 *
 * Between updates the slots are equal, modification times included. A difference was left by a killed process, and every
 * update finishes it from the files only. An update writes the idle slot, swaps, waits for the grace period and syncs
 * the slot that is idle now. Each file keeps the same two inodes, and both are modified after the new content is
 * visible, so that a watch set once never misses an update.
 * @param graceMs how long readers that opened a file before the swap keep its old content
 */
export function createLive(deps: { disk: Disk; clock: Clock; graceMs: number }): Layout {
  const { disk, clock, graceMs } = deps

  async function withSlots<Result>(
    root: number,
    active: SlotName,
    use: (activeDir: number, idleDir: () => number) => Promise<Result>,
  ): Promise<Result> {
    let idleDir: number | undefined
    const idle = () => (idleDir ??= ensureDirectory(disk, root, otherSlot(active)))
    const open = () => openToAll(disk, root, active)
    try {
      return await withDirectory(disk, open, (activeDir) => use(activeDir, idle))
    } finally {
      if (idleDir !== undefined) disk.close(idleDir)
    }
  }

  /** The first files of a volume. `..data` is created when both slots are complete, the links last. */
  async function createSlots(root: number, files: readonly NewFile[], pace: Pace): Promise<Change> {
    // Atomic's files, if any, stay readable until the swap.
    if (dataTarget(disk, root) === undefined) await tidyLinks(disk, root, new Set(), { keep: SLOTS, pace })
    let wanted: StampedFile[] | undefined
    for (const name of SLOTS) {
      const open = () => ensureDirectory(disk, root, name)
      await withDirectory(disk, open, async (dir) => {
        const slot = await readSlot(disk, dir, files, pace)
        wanted ??= stamp(slot, files, clock.now())
        await writeSlot(disk, dir, slot, wanted, pace)
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
          shrinkOversized(disk, dir, await readSlot(disk, dir, files, pace), {
            wanted: files,
            limitBytes: totalBytes / 2,
            pace,
          })
        const shown = await read(activeDir)
        await tidy(root, [...shown.files.keys(), ...shown.unlisted.keys()], pace)
        await removeForeign(disk, activeDir, shown, files, pace)
        const idleDir = openIdle()
        const idle = await read(idleDir)
        const wanted = stamp(shown, files, clock.now(), idle)
        const change = compare(shown, wanted)

        await writeSlot(disk, idleDir, idle, wanted, pace, (file, existing) => {
          // An update that a killed process left unfinished; files that change now are touched after the swap.
          if (shown.files.get(file.name)?.hasContent) touch(activeDir, file, existing)
        })
        if (isNothing(change)) return change
        unlinkNames(disk, root, shown.unlisted.keys())
        await swap(disk, root, otherSlot(active), pace)
        await tidy(root, namesOf(wanted), pace)
        await clock.sleep(graceMs)
        // The slot that was active is the idle one now: sync it.
        await writeSlot(disk, activeDir, shown, wanted, pace, (file, existing) =>
          touch(idleDir, file, existing),
        )
        return change
      })
    },

    async repair(root, sizeBytes) {
      const active = activeSlot(disk, root)
      if (active === undefined) return false
      const pace = createPace()
      await withSlots(root, active, async (activeDir, openIdle) => {
        const names = await syncIdleSlot(disk, activeDir, openIdle(), { sizeBytes, pace, before: touch })
        await tidy(root, names, pace)
      })
      return true
    },
  }

  /**
   * Fires inotify (IN_MODIFY, IN_CLOSE_WRITE) on a file that has its new content already, unless the other slot's file
   * differed in attributes only. The kernel reports a modification when only the modification time is set, even to the
   * same value (fsnotify_change, ATTR_MTIME without ATTR_ATIME). This goes first: the other file's time, set last, marks
   * both as done.
   */
  function touch(dir: number, file: StampedFile, other: ExistingFile): void {
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
