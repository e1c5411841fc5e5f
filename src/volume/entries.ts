import type { AtCalls, Name } from './at-calls.ts'
import type { Entry } from './entry.ts'

/** More than the volumes that we mount, or that earlier versions mounted, have inodes. */
const MOST_ENTRIES = 40_000
const BUFFER_BYTES = 32 << 10
/** d_type of linux_dirent64 (readdir(3)). */
const KINDS: Partial<Record<number, Entry['kind']>> = { 4: 'directory', 8: 'file', 10: 'link' }
/** Offsets in linux_dirent64: d_reclen, d_type, d_name. */
const LENGTH_AT = 16
const TYPE_AT = 18
const NAME_AT = 19
const REPLACEMENT = '\ufffd'

/** What the open directory holds, `.` and `..` left out, the first MOST_ENTRIES of it. */
export function readEntries(at: Pick<AtCalls, 'entries' | 'rewind'>, dir: number): Entry[] {
  const entries: Entry[] = []
  const buffer = Buffer.allocUnsafe(BUFFER_BYTES)
  at.rewind(dir)
  while (entries.length < MOST_ENTRIES) {
    const size = at.entries(dir, buffer)
    if (size === 0) break
    parseEntries(buffer.subarray(0, size), entries)
  }
  return entries
}

function parseEntries(buffer: Buffer, entries: Entry[]): void {
  for (let at = 0; at < buffer.byteLength; at += buffer.readUInt16LE(at + LENGTH_AT)) {
    const name = nameOf(buffer.subarray(at + NAME_AT, buffer.indexOf(0, at + NAME_AT)))
    if (name === '.' || name === '..') continue
    entries.push({ name, kind: KINDS[buffer.readUInt8(at + TYPE_AT)] ?? 'other' })
  }
}

function nameOf(bytes: Buffer): Name {
  const text = bytes.toString()
  // The bytes of what is no UTF-8, which its text no longer has, are what it can be deleted by.
  return text.includes(REPLACEMENT) && !Buffer.from(text).equals(bytes) ? Buffer.from(bytes) : text
}
