import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/** An event as the kernel told it; mask names without `IN_`, `t` in seconds of the monotonic clock. */
export type InotifyEvent = { path: string; mask: string[]; name: string; t: number }

export type InotifyWatch = {
  /** All events so far. */
  events(): readonly InotifyEvent[]
  /** The first event, past or to come, that fits. @throws when none came in time, with what came instead */
  waitFor(fits: (event: InotifyEvent) => boolean, timeoutMs?: number): Promise<InotifyEvent>
  /** Forgets the events so far, so that waitFor looks at new ones alone. */
  clear(): void
  close(): Promise<void>
}

/**
 * Watches with real inotify, in a process of its own as an application does. Resolves when the watches stand.
 * @param paths each `PATH` or `PATH:MASK,MASK` as inotify.py takes them
 */
export async function watchInotify(paths: readonly string[]): Promise<InotifyWatch> {
  const script = join(import.meta.dirname, 'inotify.py')
  const child = spawn('python3', [script, ...paths], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const lines = createInterface({ input: child.stdout })
  let events: InotifyEvent[] = []
  const waiting = new Set<() => void>()

  const ready = Promise.withResolvers<void>()
  lines.on('line', (line) => {
    const said = JSON.parse(line) as InotifyEvent | { ready: true }
    if ('ready' in said) return ready.resolve()
    events.push(said)
    for (const look of waiting) look()
  })
  child.once('error', ready.reject)
  child.once('exit', () => ready.reject(new Error('inotify.py ended')))
  await ready.promise

  return {
    events: () => events,
    clear: () => {
      events = []
    },
    waitFor: (fits, timeoutMs = 5000) =>
      new Promise((resolve, reject) => {
        const late = setTimeout(() => {
          waiting.delete(look)
          reject(new Error(`no such event in ${timeoutMs} ms; came: ${JSON.stringify(events)}`))
        }, timeoutMs)
        const look = () => {
          const found = events.find(fits)
          if (!found) return
          clearTimeout(late)
          waiting.delete(look)
          resolve(found)
        }
        waiting.add(look)
        look()
      }),
    async close() {
      child.kill()
      await exited
    },
  }
}
