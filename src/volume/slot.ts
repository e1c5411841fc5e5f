import type { Entry } from './at-calls.ts'
import { removeTree, unlinkPresent } from './directory.ts'
import type { Disk } from './disk.ts'
import {
  type ExistingFile,
  hasAttributes,
  inspectFile,
  isDone,
  type NewFile,
  openPlain,
  type StampedFile,
  withFile,
  writeFile,
} from './file.ts'
import type { Pace } from './pace.ts'

/** The contents of a directory of files, compared with a wanted set of files. */
export type Slot = {
  /** Files with a wanted name. */
  files: ReadonlyMap<string, ExistingFile>
  /** Plain files with other names: no longer listed by the import, or added by a container. */
  unlisted: ReadonlyMap<string, { size: number }>
  /** Entries of a kind or name that we never create. */
  foreign: readonly Entry[]
}

/** File names by the effect of an update; of removed ones, which a container may have added, the first MOST_REPORTED. */
export type Change = { changed: string[]; added: string[]; removed: string[] }

export const EMPTY_SLOT: Slot = { files: new Map(), unlisted: new Map(), foreign: [] }

const MOST_REPORTED = 100
/** The kernel's own type holds no later time; only a container sets one. */
const LATEST_NS = 2n ** 63n - 1n

/** Compares the directory with `wanted` file by file, keeping no content. */
export async function readSlot(
  disk: Disk,
  dir: number,
  wanted: readonly NewFile[],
  pace: Pace,
): Promise<Slot> {
  const byName = new Map(wanted.map((file) => [file.name, file]))
  const files = new Map<string, ExistingFile>()
  const unlisted = new Map<string, { size: number }>()
  const foreign: Entry[] = []
  for (const entry of disk.list(dir)) {
    const { name, kind } = entry
    if (kind !== 'file' || typeof name !== 'string' || name.startsWith('..')) {
      foreign.push(entry)
      continue
    }
    const file = byName.get(name)
    if (file) {
      const existing = inspectFile(disk, dir, file)
      if (existing) files.set(name, existing)
      else foreign.push(entry)
    } else unlisted.set(name, { size: sizeOf(disk, dir, name) })
    await pace()
  }
  return { files, unlisted, foreign }
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
 * Decides the modification times. A file with unchanged content keeps its own to the nanosecond. All that change get
 * one new time, later than any existing one, whatever the wall clock reads.
 * @param shown the slot that readers see now
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
    const existing = shown.files.get(file.name)
    const keepsTime = existing?.hasContent && existing.mtimeNs <= LATEST_NS
    return { ...file, mtimeNs: keepsTime ? existing.mtimeNs : fresh }
  })
}

export function compare(slot: Slot, wanted: readonly NewFile[]): Change {
  const change: Change = {
    changed: [],
    added: [],
    removed: [...slot.unlisted.keys()].sort().slice(0, MOST_REPORTED),
  }
  for (const file of wanted) {
    const existing = slot.files.get(file.name)
    if (!existing) change.added.push(file.name)
    else if (!existing.hasContent || !hasAttributes(existing, file)) change.changed.push(file.name)
  }
  return change
}

export function isNothing({ changed, added, removed }: Change): boolean {
  return changed.length + added.length + removed.length === 0
}

/**
 * Makes a directory with the contents `slot` hold `wanted`, in place, on the existing inodes.
 * @param before called for each file that differs, before it is written
 */
export async function writeSlot(
  disk: Disk,
  dir: number,
  slot: Slot,
  wanted: readonly StampedFile[],
  pace: Pace,
  before: (file: StampedFile, existing: ExistingFile) => void = () => {},
): Promise<void> {
  await removeUnwanted(disk, dir, slot, pace)
  for (const file of shrinkingFirst(slot, wanted)) {
    const existing = slot.files.get(file.name)
    if (existing && !isDone(existing, file)) before(file, existing)
    writeFile(disk, dir, existing, file)
    await pace()
  }
}

/** Removes foreign entries and unlisted files. */
export async function removeUnwanted(disk: Disk, dir: number, slot: Slot, pace: Pace): Promise<void> {
  for (const entry of slot.foreign) await removeTree(disk, dir, entry, pace)
  await removeUnlisted(disk, dir, slot, pace)
}

async function removeUnlisted(disk: Disk, dir: number, { unlisted }: Slot, pace: Pace): Promise<void> {
  for (const name of unlisted.keys()) {
    unlinkPresent(disk, dir, name)
    await pace()
  }
}

/** Removes foreign entries from the slot that readers see. One with a wanted name stays until the slot is written. */
export async function removeForeign(
  disk: Disk,
  dir: number,
  slot: Slot,
  wanted: readonly NewFile[],
  pace: Pace,
): Promise<void> {
  const names = new Set<unknown>(wanted.map(({ name }) => name))
  for (const entry of slot.foreign) {
    if (!names.has(entry.name)) await removeTree(disk, dir, entry, pace)
  }
}

/**
 * Frees the space of a slot that a container made larger than `limitBytes`, before the space is needed: files are cut
 * to their wanted length in place, unlisted ones removed.
 * @returns the slot as it is then
 */
export async function shrinkOversized(
  disk: Disk,
  dir: number,
  slot: Slot,
  { wanted, limitBytes, pace }: { wanted: readonly NewFile[]; limitBytes: number; pace: Pace },
): Promise<Slot> {
  const sizes = [...slot.files.values(), ...slot.unlisted.values()].map(({ size }) => size)
  if (sizes.reduce((sum, size) => sum + size, 0) <= limitBytes) return slot
  await removeUnlisted(disk, dir, slot, pace)
  const files = new Map(slot.files)
  for (const { name, content } of wanted) {
    const file = files.get(name)
    if (!file || file.size <= content.byteLength) continue
    withFile(disk, dir, name, file, (fd) => disk.truncate(fd, content.byteLength))
    files.set(name, { ...file, size: content.byteLength })
  }
  return { ...slot, files, unlisted: new Map() }
}

/** Files that free space before those that take it: the peak stays within the larger of the two sets. */
export function shrinkingFirst<File extends NewFile>(slot: Slot, wanted: readonly File[]): File[] {
  const growth = (file: File) => file.content.byteLength - (slot.files.get(file.name)?.size ?? 0)
  return wanted.toSorted((one, other) => growth(one) - growth(other))
}
