import type { Clock } from '../core/ports/clock.ts'
import { checkCapacity } from './capacity.ts'
import { removeTree, unlinkPresent } from './directory.ts'
import type { Disk } from './disk.ts'
import type { Entry } from './entry.ts'
import {
  type HeldFile,
  hasAttributes,
  type NewFile,
  putContent,
  putOwner,
  type StampedFile,
  withFile,
  writeFile,
} from './file.ts'
import type { Layout } from './layout.ts'
import { createPace, type Pace } from './pace.ts'
import { compare, isNothing, readSlot, removeSurplus, shrinkingFirst, stamp } from './slot.ts'

const FRESH = '..new-'
/** There from before the first file until after the last one: a set with it was never whole. */
const INCOMPLETE = '..incomplete'

/**
 * Real files at the top level, no links, one inode per file for ever: for applications that refuse symlinks.
 * Files change one by one. A reader may meet a file in the middle of its one write; a new file appears whole.
 */
export function createInPlace({ disk, clock }: { disk: Disk; clock: Clock }): Layout {
  return {
    async apply(root, sizeBytes, files) {
      const { pageBytes } = disk.room(root)
      checkCapacity(files, { sizeBytes, pageBytes, copies: 1, reason: 'InPlace keeps one copy' })
      const pace = createPace()
      const { isMarked, isFirst, held } = await readTop(files, root, pace)
      const wanted = stamp(held, files, clock.now())
      const change = compare(held, wanted)
      if (isFirst && !isMarked) disk.close(disk.create(root, INCOMPLETE))
      await removeSurplus(disk, root, held, pace)
      if (!isNothing(change)) {
        for (const file of shrinkingFirst(held, wanted)) {
          const old = held.files.get(file.name)
          if (old) overwrite(disk, root, old, file)
          else addWhole(disk, root, file)
          await pace()
        }
      }
      if (isFirst) unlinkPresent(disk, root, INCOMPLETE)
      return change
    },

    // Nothing tells a whole file from a half-written one here: the next apply compares and rewrites.
    async repair(root) {
      if (isIncomplete(disk, root)) return false
      const pace = createPace()
      for (const entry of disk.list(root)) {
        if (String(entry.name).startsWith(FRESH)) await removeTree(disk, root, entry, pace)
      }
      return true
    },
  }

  async function readTop(files: readonly NewFile[], root: number, pace: Pace) {
    const { strangers, ...own } = await readSlot(disk, root, files, pace)
    const isMark = ({ name, kind }: Entry) => name === INCOMPLETE && kind === 'file'
    const isMarked = strangers.some(isMark)
    return {
      isMarked,
      isFirst: isMarked || own.files.size + own.surplus.size === 0,
      held: { ...own, strangers: strangers.filter((entry) => !isMark(entry)) },
    }
  }
}

/** Whether the first set of files never became whole. */
export function isIncomplete(disk: Disk, root: number): boolean {
  return disk.list(root).some(({ name }) => name === INCOMPLETE)
}

/** The kernel's own modification time stays, so that it moves once, unless its clock was too coarse to move it. */
function overwrite(disk: Disk, root: number, old: HeldFile, file: StampedFile): void {
  if (old.hasContent && hasAttributes(old, file)) return
  withFile(disk, root, file.name, old, (fd) => {
    if (!old.hasContent) putContent(disk, fd, old, file)
    putOwner(disk, fd, file)
    if (!old.hasContent && disk.stat(fd).mtimeNs <= old.mtimeNs) disk.setMtime(fd, file.mtimeNs)
  })
}

function addWhole(disk: Disk, root: number, file: StampedFile): void {
  const fresh = `${FRESH}${file.name}`
  writeFile(disk, root, undefined, { ...file, name: fresh })
  disk.rename(root, fresh, root, file.name)
}
