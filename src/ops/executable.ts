import { readFileSync, readlinkSync } from 'node:fs'
import koffi from 'koffi'

/** From the kernel's uapi headers. */
const MADV_DONTNEED = 4

type Range = { from: number; length: number }

/**
 * A function that unmaps the pages of Node's executable. Pages still in use return within microseconds when they are
 * accessed, since the page cache keeps them. Start-up runs most of the executable, and the kernel maps sixteen pages
 * around each accessed one: 54 MiB of resident memory, of which an idle plugin uses 10.
 * The function throws an Error without /proc, or when the kernel refuses.
 */
export function createExecutableRelease(): () => void {
  let release: (() => void) | undefined
  return () => {
    release ??= prepare()
    release()
  }
}

function prepare(): () => void {
  // null is the process itself: the libc that Node is linked with.
  const madvise = koffi.load(null).func('int madvise(uintptr_t, size_t, int)')
  // They stay mapped for the life of the process, and nothing else ever gets their addresses.
  const ranges = findRanges(readFileSync('/proc/self/smaps', 'utf8'), readlinkSync('/proc/self/exe'))
  return () => {
    for (const { from, length } of ranges) {
      if (madvise(from, length, MADV_DONTNEED) !== 0) throw new Error(`errno ${koffi.errno()} at madvise(2)`)
    }
  }
}

/**
 * Mappings of `path` that equal the file on disk. Those that are writable, or were when the program was linked, may hold
 * pages of our own (Anonymous), which would be lost.
 * @param smaps as of proc_pid_smaps(5)
 */
export function findRanges(smaps: string, path: string): Range[] {
  const found: Range[] = []
  let current: Range | undefined
  for (const line of smaps.split('\n')) {
    const mapping = /^([0-9a-f]+)-([0-9a-f]+) r-[-x]p \S+ \S+ \S+ +(\S.*)$/.exec(line)
    const isHeader = /^[0-9a-f]+-/.test(line)
    if (isHeader) current = mapping?.[3] === path ? rangeOf(mapping[1], mapping[2]) : undefined
    else if (current !== undefined && /^Anonymous: +0 kB$/.test(line)) found.push(current)
  }
  return found
}

function rangeOf(from = '', to = ''): Range {
  const start = Number.parseInt(from, 16)
  return { from: start, length: Number.parseInt(to, 16) - start }
}
