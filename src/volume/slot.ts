import { removeTree, unlinkPresent } from './directory.ts'
import type { Disk } from './disk.ts'
import type { Entry } from './entry.ts'
import {
  type HeldFile,
  hasAttributes,
  isDone,
  lookAt,
  type NewFile,
  openPlain,
  type StampedFile,
  withFile,
  writeFile,
} from './file.ts'
import type { Pace } from './pace.ts'

/** What a directory of files holds, held against what is wanted of it. */
export type Slot = {
  /** Of the wanted names, those that are files of ours. */
  files: ReadonlyMap<string, HeldFile>
  /** Plain files of other names: what an import no longer lists, or what a container put there. */
  surplus: ReadonlyMap<string, { size: number }>
  /** What we never put there. */
  strangers: readonly Entry[]
}

/** Names, by what an update does to them; of removed ones, which a container may have added, the first MOST_TOLD. */
export type Change = { changed: string[]; added: string[]; removed: string[] }

export const EMPTY_SLOT: Slot = { files: new Map(), surplus: new Map(), strangers: [] }

const MOST_TOLD = 100
/** Later times, which the kernel's own type does not hold, are only ever set by a container. */
const LATEST_NS = 2n ** 63n - 1n

/** Compares the directory with `wanted` file by file, keeping no content. */
export async function readSlot(
  disk: Disk,
  dir: number,
  wanted: readonly NewFile[],
  pace: Pace,
): Promise<Slot> {
  const byName = new Map(wanted.map((file) => [file.name, file]))
  const files = new Map<string, HeldFile>()
  const surplus = new Map<string, { size: number }>()
  const strangers: Entry[] = []
  for (const entry of disk.list(dir)) {
    const { name, kind } = entry
    if (kind !== 'file' || typeof name !== 'string' || name.startsWith('..')) {
      strangers.push(entry)
      continue
    }
    const file = byName.get(name)
    if (file) {
      const held = lookAt(disk, dir, file)
      if (held) files.set(name, held)
      else strangers.push(entry)
    } else surplus.set(name, { size: sizeOf(disk, dir, name) })
    await pace()
  }
  return { files, surplus, strangers }
}

function sizeOf(disk: Disk, dir: number, name: string): number {
  const fd = openPlain(disk, dir, name)
  if (fd === undefined) return 0
  try {
    return disk.stat(fd).size
  } finally {
    disk.close(fd)
  }
}

/**
 * Decides the modification times: a file whose content stays keeps its own to the nanosecond,
 * all that change get one new time, later than any there was, whatever the clock says.
 * @param shown what readers see now
 * @param other a slot that a killed process may have left newer
 */
export function stamp(
  shown: Slot,
  files: readonly NewFile[],
  nowMs: number,
  other = EMPTY_SLOT,
): StampedFile[] {
  let fresh = BigInt(Math.floor(nowMs)) * 1_000_000n
  for (const { mtimeNs } of [...shown.files.values(), ...other.files.values()]) {
    if (mtimeNs >= fresh && mtimeNs < LATEST_NS) fresh = mtimeNs + 1n
  }
  return files.map((file) => {
    const held = shown.files.get(file.name)
    return { ...file, mtimeNs: held?.hasContent && held.mtimeNs <= LATEST_NS ? held.mtimeNs : fresh }
  })
}

export function compare(held: Slot, wanted: readonly NewFile[]): Change {
  const change: Change = {
    changed: [],
    added: [],
    removed: [...held.surplus.keys()].sort().slice(0, MOST_TOLD),
  }
  for (const file of wanted) {
    const old = held.files.get(file.name)
    if (!old) change.added.push(file.name)
    else if (!old.hasContent || !hasAttributes(old, file)) change.changed.push(file.name)
  }
  return change
}

export function isNothing({ changed, added, removed }: Change): boolean {
  return changed.length + added.length + removed.length === 0
}

/**
 * Makes a directory that holds `held` hold `wanted`, in place on the present inodes.
 * @param before called for each file that differs, before it is written
 */
export async function writeSlot(
  disk: Disk,
  dir: number,
  held: Slot,
  wanted: readonly StampedFile[],
  pace: Pace,
  before: (file: StampedFile, old: HeldFile) => void = () => {},
): Promise<void> {
  await removeSurplus(disk, dir, held, pace)
  for (const file of shrinkingFirst(held, wanted)) {
    const old = held.files.get(file.name)
    if (old && !isDone(old, file)) before(file, old)
    writeFile(disk, dir, old, file)
    await pace()
  }
}

export async function removeSurplus(disk: Disk, dir: number, held: Slot, pace: Pace): Promise<void> {
  for (const entry of held.strangers) await removeTree(disk, dir, entry, pace)
  await unlinkSurplus(disk, dir, held, pace)
}

async function unlinkSurplus(disk: Disk, dir: number, { surplus }: Slot, pace: Pace): Promise<void> {
  for (const name of surplus.keys()) {
    unlinkPresent(disk, dir, name)
    await pace()
  }
}

/**
 * Takes away what hides the files that readers see from no one: strangers beside them. One under a wanted name stays
 * until the slot is written.
 */
export async function removeStrangers(
  disk: Disk,
  dir: number,
  held: Slot,
  wanted: readonly NewFile[],
  pace: Pace,
): Promise<void> {
  const names = new Set<unknown>(wanted.map(({ name }) => name))
  for (const entry of held.strangers) {
    if (!names.has(entry.name)) await removeTree(disk, dir, entry, pace)
  }
}

/**
 * Gives back what a container made larger than a set of ours may be, before room is needed: files are cut to their
 * wanted length, where they stand, and others removed.
 * @returns what is held then
 */
export async function deflate(
  disk: Disk,
  dir: number,
  held: Slot,
  { wanted, limitBytes, pace }: { wanted: readonly NewFile[]; limitBytes: number; pace: Pace },
): Promise<Slot> {
  const sizes = [...held.files.values(), ...held.surplus.values()].map(({ size }) => size)
  if (sizes.reduce((sum, size) => sum + size, 0) <= limitBytes) return held
  await unlinkSurplus(disk, dir, held, pace)
  const files = new Map(held.files)
  for (const { name, content } of wanted) {
    const file = files.get(name)
    if (!file || file.size <= content.byteLength) continue
    withFile(disk, dir, name, file, (fd) => disk.truncate(fd, content.byteLength))
    files.set(name, { ...file, size: content.byteLength })
  }
  return { ...held, files, surplus: new Map() }
}

/** Files that give room back before those that take it: the peak stays within the larger of the two sets. */
export function shrinkingFirst<File extends NewFile>(held: Slot, wanted: readonly File[]): File[] {
  const growth = (file: File) => file.content.byteLength - (held.files.get(file.name)?.size ?? 0)
  return wanted.toSorted((one, other) => growth(one) - growth(other))
}
