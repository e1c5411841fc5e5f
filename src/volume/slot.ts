import { removeTree } from './directory.ts'
import type { Disk, Entry } from './disk.ts'
import { type HeldFile, type NewFile, readFile, sameAttributes, sameContent, writeFile } from './file.ts'
import type { Pace } from './pace.ts'

/** What a directory of files holds. */
export type Slot = {
  files: ReadonlyMap<string, HeldFile>
  /** Whatever is no regular file: only tampering puts it there. */
  strangers: readonly Entry[]
}

/** Names, by what an update does to them. */
export type Change = { changed: string[]; added: string[]; removed: string[] }

export const EMPTY_SLOT: Slot = { files: new Map(), strangers: [] }

/** Reads the directory's files whole; names that begin with `..` are the volume's own and left out. */
export async function readSlot(disk: Disk, directory: string, pace: Pace): Promise<Slot> {
  const files = new Map<string, HeldFile>()
  const strangers: Entry[] = []
  for (const { name, kind } of disk.list(directory)) {
    if (name.startsWith('..')) continue
    if (kind !== 'file') {
      strangers.push({ name, kind })
      continue
    }
    files.set(name, readFile(disk, `${directory}/${name}`, name))
    await pace()
  }
  return { files, strangers }
}

/**
 * Decides the modification times: a file whose content stays keeps its own to the nanosecond,
 * all that change get one new time, later than any there was.
 */
export function stamp(held: Slot, files: readonly NewFile[], nowMs: number): HeldFile[] {
  const now = BigInt(Math.floor(nowMs)) * 1_000_000n
  const latest = [...held.files.values()].reduce((max, file) => (file.mtimeNs > max ? file.mtimeNs : max), 0n)
  const fresh = now > latest ? now : latest + 1n
  return files.map((file) => {
    const old = held.files.get(file.name)
    return { ...file, mtimeNs: old && sameContent(old, file) ? old.mtimeNs : fresh }
  })
}

export function compare(held: Slot, wanted: readonly NewFile[]): Change {
  const change: Change = { changed: [], added: [], removed: [] }
  for (const file of wanted) {
    const old = held.files.get(file.name)
    if (!old) change.added.push(file.name)
    else if (!sameContent(old, file) || !sameAttributes(old, file)) change.changed.push(file.name)
  }
  const names = new Set(wanted.map(({ name }) => name))
  change.removed = [...held.files.keys()].filter((name) => !names.has(name)).sort()
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
  directory: string,
  held: Slot,
  wanted: readonly HeldFile[],
  pace: Pace,
  before: (file: HeldFile, old: HeldFile | undefined) => void = () => {},
): Promise<void> {
  removeSurplus(disk, directory, held, wanted)
  for (const file of shrinkingFirst(held, wanted)) {
    const old = held.files.get(file.name)
    before(file, old)
    writeFile(disk, `${directory}/${file.name}`, old, file)
    await pace()
  }
}

export function removeSurplus(disk: Disk, directory: string, held: Slot, wanted: readonly NewFile[]): void {
  for (const { name, kind } of held.strangers) removeTree(disk, `${directory}/${name}`, kind)
  for (const name of compare(held, wanted).removed) disk.unlink(`${directory}/${name}`)
}

/** Files that give room back before those that take it: the peak stays within the larger of the two sets. */
export function shrinkingFirst<File extends NewFile>(held: Slot, wanted: readonly File[]): File[] {
  const growth = (file: File) =>
    file.content.byteLength - (held.files.get(file.name)?.content.byteLength ?? 0)
  return wanted.toSorted((one, other) => growth(one) - growth(other))
}
