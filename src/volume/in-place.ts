import type { Clock } from '../core/ports/clock.ts'
import type { Entry } from './at-calls.ts'
import { removeTree, unlinkPresent } from './directory.ts'
import type { Disk } from './disk.ts'
import {
  type ExistingFile,
  hasAttributes,
  type NewFile,
  putContent,
  putOwner,
  type StampedFile,
  withFile,
  writeFile,
} from './file.ts'
import { checkCapacity, type Layout } from './layout.ts'
import { createPace, type Pace } from './pace.ts'
import { compare, isNothing, readSlot, removeUnwanted, shrinkingFirst, stamp } from './slot.ts'

const FRESH = '..new-'
/** Exists from before the first file until after the last one: a set with it was never complete. */
const INCOMPLETE = '..incomplete'

/**
 * Real files at the top level without links, each keeping its inode: for applications that refuse symlinks.
 * Files change one by one. A reader may see a file in the middle of its one write; a new file appears complete.
 */
export function createInPlace({ disk, clock }: { disk: Disk; clock: Clock }): Layout {
  return {
    async apply(root, sizeBytes, files) {
      const { pageBytes } = disk.room(root)
      checkCapacity(files, { sizeBytes, pageBytes, copies: 1, reason: 'InPlace keeps one copy' })
      const pace = createPace()
      const { isMarked, isFirst, slot } = await readTop(files, root, pace)
      const wanted = stamp(slot, files, clock.now())
      const change = compare(slot, wanted)
      if (isFirst && !isMarked) disk.close(disk.create(root, INCOMPLETE))
      await removeUnwanted(disk, root, slot, pace)
      if (!isNothing(change)) {
        for (const file of shrinkingFirst(slot, wanted)) {
          const existing = slot.files.get(file.name)
          if (existing) overwrite(disk, root, existing, file)
          else addWhole(disk, root, file)
          await pace()
        }
      }
      if (isFirst) unlinkPresent(disk, root, INCOMPLETE)
      return change
    },

    // A half-written file looks like a complete one here: the next apply compares and rewrites it.
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
    const { foreign, ...known } = await readSlot(disk, root, files, pace)
    const isMark = ({ name, kind }: Entry) => name === INCOMPLETE && kind === 'file'
    const isMarked = foreign.some(isMark)
    return {
      isMarked,
      isFirst: isMarked || known.files.size + known.unlisted.size === 0,
      slot: { ...known, foreign: foreign.filter((entry) => !isMark(entry)) },
    }
  }
}

/** Whether the first set of files never became complete. */
export function isIncomplete(disk: Disk, root: number): boolean {
  return disk.list(root).some(({ name }) => name === INCOMPLETE)
}

/** Keeps the kernel's modification time, so that it changes once, unless the kernel's clock was too coarse to change it. */
function overwrite(disk: Disk, root: number, existing: ExistingFile, file: StampedFile): void {
  if (existing.hasContent && hasAttributes(existing, file)) return
  withFile(disk, root, file.name, existing, (fd) => {
    if (!existing.hasContent) putContent(disk, fd, existing, file)
    putOwner(disk, fd, file)
    if (!existing.hasContent && disk.stat(fd).mtimeNs <= existing.mtimeNs) disk.setMtime(fd, file.mtimeNs)
  })
}

function addWhole(disk: Disk, root: number, file: StampedFile): void {
  const fresh = `${FRESH}${file.name}`
  writeFile(disk, root, undefined, { ...file, name: fresh })
  disk.rename(root, fresh, root, file.name)
}
