import type { Clock } from '../core/ports.ts'
import { checkCapacity } from './capacity.ts'
import { removeTree } from './directory.ts'
import type { Disk } from './disk.ts'
import {
  type HeldFile,
  putContent,
  putOwner,
  sameAttributes,
  sameContent,
  withFile,
  writeFile,
} from './file.ts'
import type { Layout } from './layout.ts'
import { createPace } from './pace.ts'
import { compare, isNothing, readSlot, removeSurplus, shrinkingFirst, stamp } from './slot.ts'

const FRESH = '..new-'

/**
 * Real files at the top level, no links, one inode per file for ever: for applications that refuse symlinks.
 * Files change one by one. A reader may meet a file in the middle of its one write; a new file appears whole.
 */
export function createInPlace({ disk, clock }: { disk: Disk; clock: Clock }): Layout {
  return {
    async apply(root, sizeBytes, files) {
      checkCapacity(files, {
        sizeBytes,
        pageBytes: disk.blockSize(root),
        copies: 1,
        reason: 'InPlace keeps one copy',
      })
      const pace = createPace()
      const held = await readSlot(disk, root, pace)
      const wanted = stamp(held, files, clock.now())
      removeOwn(disk, root, '..')
      removeSurplus(disk, root, held, wanted)
      const change = compare(held, wanted)
      if (isNothing(change)) return change
      for (const file of shrinkingFirst(held, wanted)) {
        const old = held.files.get(file.name)
        if (old) overwrite(disk, `${root}/${file.name}`, old, file)
        else addWhole(disk, root, file)
        await pace()
      }
      return change
    },

    // Nothing tells a whole file from a half-written one here: the next apply compares and rewrites.
    async repair(root) {
      removeOwn(disk, root, FRESH)
      return true
    },
  }
}

/** The kernel's own modification time stays, so that it moves once, unless its clock was too coarse to move it. */
function overwrite(disk: Disk, path: string, old: HeldFile, file: HeldFile): void {
  const contentStays = sameContent(old, file)
  if (contentStays && sameAttributes(old, file)) return
  withFile(disk, path, old, (fd) => {
    if (!contentStays) putContent(disk, fd, old, file)
    putOwner(disk, fd, file)
    if (!contentStays && disk.stat(fd).mtimeNs <= old.mtimeNs) disk.setMtime(fd, file.mtimeNs)
  })
}

function addWhole(disk: Disk, root: string, file: HeldFile): void {
  const fresh = `${root}/${FRESH}${file.name}`
  writeFile(disk, fresh, undefined, file)
  disk.rename(fresh, `${root}/${file.name}`)
}

/** Half-made new files; with the prefix `..` also what another update mode kept. */
function removeOwn(disk: Disk, root: string, prefix: string): void {
  for (const { name, kind } of disk.list(root)) {
    if (name.startsWith(prefix)) removeTree(disk, `${root}/${name}`, kind)
  }
}
