import { closeSync, readSync } from 'node:fs'
import koffi from 'koffi'

/** From <sys/inotify.h>, without IN_. */
const masks = {
  MODIFY: 0x2,
  ATTRIB: 0x4,
  CLOSE_WRITE: 0x8,
  MOVED_FROM: 0x40,
  MOVED_TO: 0x80,
  CREATE: 0x100,
  DELETE: 0x200,
  DELETE_SELF: 0x400,
  MOVE_SELF: 0x800,
} as const

export type InotifyMask = keyof typeof masks

export type InotifyEvent = {
  /** The watched path, as it was given. */
  path: string
  mask: string[]
  /** Name inside a watched directory, '' for a watched file. */
  name: string
  /** performance.now() when it was read, at most POLL_MS after it happened. */
  at: number
}

export type InotifyWatch = {
  /** All events since the beginning or the last clear(), oldest first. */
  events(): readonly InotifyEvent[]
  /** The first of them, past or to come, that fits. @throws Error when none came in time, with what came instead */
  waitFor(fits: (event: InotifyEvent) => boolean, timeoutMs?: number): Promise<InotifyEvent>
  clear(): void
  close(): void
}

const IN_NONBLOCK = 0x800
/** The watch itself went, because its inode went or because it was removed. */
const IN_IGNORED = 0x8000
const POLL_MS = 2
const HEADER_BYTES = 16
const PATIENCE_MS = 5_000

/**
 * Real inotify watches, set once on what each path leads to now. Node's own fs.watch hides which event it was.
 * @param paths each `PATH`, or `PATH:MODIFY,ATTRIB` for only these events
 * @throws Error when a path cannot be watched
 */
export function watchInotify(paths: readonly string[]): InotifyWatch {
  const libc = koffi.load(null)
  const add = libc.func('int inotify_add_watch(int, const char *, uint32_t)')
  const fd: number = libc.func('int inotify_init1(int)')(IN_NONBLOCK)
  if (fd < 0) throw new Error(`inotify_init1 failed with errno ${koffi.errno()}`)
  const watched = new Map<number, string>()
  for (const wanted of paths) {
    const [path = '', names] = wanted.split(':')
    const descriptor: number = add(fd, path, maskOf(names))
    if (descriptor < 0) throw new Error(`${path} cannot be watched: errno ${koffi.errno()}`)
    watched.set(descriptor, path)
  }

  let events: InotifyEvent[] = []
  const buffer = Buffer.alloc(64 * 1024)
  const timer = setInterval(read, POLL_MS)

  function read(): void {
    try {
      for (;;) decode(buffer.subarray(0, readSync(fd, buffer)))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    }
  }

  /** struct inotify_event: wd, mask, cookie, len, then a name of len bytes padded with NULs. */
  function decode(bytes: Buffer): void {
    for (let offset = 0; offset < bytes.length; ) {
      const path = watched.get(bytes.readInt32LE(offset)) ?? ''
      const bits = bytes.readUInt32LE(offset + 4)
      const end = offset + HEADER_BYTES + bytes.readUInt32LE(offset + 12)
      const name = bytes.toString('utf8', offset + HEADER_BYTES, end).replace(/\0+$/, '')
      if ((bits & IN_IGNORED) === 0) events.push({ path, mask: namesOf(bits), name, at: performance.now() })
      offset = end
    }
  }

  return {
    events: () => events,
    async waitFor(fits, timeoutMs = PATIENCE_MS) {
      const until = performance.now() + timeoutMs
      for (;;) {
        const found = events.find(fits)
        if (found !== undefined) return found
        if (performance.now() > until) {
          throw new Error(`no such event in ${timeoutMs} ms; came: ${JSON.stringify(events)}`)
        }
        await new Promise((resolve) => setTimeout(resolve, POLL_MS))
      }
    },
    clear() {
      events = []
    },
    close() {
      clearInterval(timer)
      closeSync(fd)
    },
  }
}

function maskOf(names: string | undefined): number {
  const wanted = (names?.split(',') ?? Object.keys(masks)) as InotifyMask[]
  return wanted.reduce((sum, name) => sum | masks[name], 0)
}

function namesOf(bits: number): InotifyMask[] {
  return (Object.keys(masks) as InotifyMask[]).filter((name) => (bits & masks[name]) !== 0)
}
