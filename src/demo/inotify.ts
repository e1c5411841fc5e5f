import { closeSync, readSync } from 'node:fs'
import koffi from 'koffi'

/** From <sys/inotify.h>; the kernel reports the names in this order. */
const masks = {
  IN_MODIFY: 0x2,
  IN_ATTRIB: 0x4,
  IN_CLOSE_WRITE: 0x8,
  IN_MOVED_FROM: 0x40,
  IN_MOVED_TO: 0x80,
  IN_CREATE: 0x100,
  IN_DELETE: 0x200,
  IN_DELETE_SELF: 0x400,
  IN_MOVE_SELF: 0x800,
  IN_IGNORED: 0x8000,
} as const

export type InotifyMask = keyof typeof masks

export type InotifyEvent = {
  /** The watched path, as it was given. */
  path: string
  masks: InotifyMask[]
  /** Name inside a watched directory, '' for a watched file. */
  name: string
  /** performance.now() when it was read, at most POLL_MS after it happened. */
  at: number
}

export type Inotify = {
  /** Everything seen so far, oldest first. */
  readonly events: readonly InotifyEvent[]
  /** Resolves with the first event from `events[from]` on that `wanted` accepts. @throws Error after `timeoutMs` */
  waitFor(wanted: (event: InotifyEvent) => boolean, timeoutMs: number, from?: number): Promise<InotifyEvent>
  close(): void
}

const IN_NONBLOCK = 0x800
const WATCHED = Object.values(masks).reduce((sum, mask) => sum | mask, 0) & ~masks.IN_IGNORED
const POLL_MS = 2
const HEADER_BYTES = 16

/**
 * Real inotify watches, set once on what each path leads to now. Node's own fs.watch hides which event it was.
 * @throws Error when a path cannot be watched
 */
export function watchInotify(paths: readonly string[]): Inotify {
  const libc = koffi.load(null)
  const init = libc.func('int inotify_init1(int)')
  const add = libc.func('int inotify_add_watch(int, const char *, uint32_t)')
  const fd: number = init(IN_NONBLOCK)
  if (fd < 0) throw new Error(`inotify_init1 failed with errno ${koffi.errno()}`)
  const watched = new Map<number, string>()
  for (const path of paths) {
    const descriptor: number = add(fd, path, WATCHED)
    if (descriptor < 0) throw new Error(`${path} cannot be watched: errno ${koffi.errno()}`)
    watched.set(descriptor, path)
  }

  const events: InotifyEvent[] = []
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
      const mask = bytes.readUInt32LE(offset + 4)
      const nameBytes = bytes.readUInt32LE(offset + 12)
      const end = offset + HEADER_BYTES + nameBytes
      const name = bytes.toString('utf8', offset + HEADER_BYTES, end).replace(/\0+$/, '')
      const names = (Object.keys(masks) as InotifyMask[]).filter((key) => (mask & masks[key]) !== 0)
      events.push({ path, masks: names, name, at: performance.now() })
      offset = end
    }
  }

  return {
    events,
    async waitFor(wanted, timeoutMs, from = 0) {
      const until = performance.now() + timeoutMs
      for (let next = from; ; ) {
        for (; next < events.length; next++) {
          const event = events[next]
          if (event !== undefined && wanted(event)) return event
        }
        if (performance.now() > until) throw new Error(`no such event within ${timeoutMs} ms`)
        await new Promise((resolve) => setTimeout(resolve, POLL_MS))
      }
    },
    close() {
      clearInterval(timer)
      closeSync(fd)
    },
  }
}
