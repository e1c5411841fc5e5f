import { realpathSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { type FSWatcher, watch } from 'chokidar'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'

/** Quiet time after which what was being written is taken for whole. */
const QUIET_MS = 50
/** A directory that never comes to rest is looked at all the same. */
const LONGEST_UNREST_MS = 1_000
/** How often it is asked whether the path still leads to the directory that is watched. */
const LOOK_MS = 1_000

/**
 * Follows a directory: its files, renames over them, and the `..data` link that kubelet swaps in ConfigMap volumes.
 * A link on the way to it that comes to lead elsewhere, as git-sync swaps them, is noticed within a second or two.
 * `onSettled` is called 50 ms after the last of a burst of changes, and says nothing about what changed.
 * @throws the file system's error when watching cannot begin; the signal's reason when it aborts before
 */
export async function watchDirectory(options: {
  path: string
  clock: Clock
  log: Log
  onSettled: () => void
  signal?: AbortSignal
}): Promise<{ close(): Promise<void> }> {
  const { path, clock, log, onSettled, signal } = options
  signal?.throwIfAborted()
  let watcher = open()
  let cancel = () => {}
  let unrestSince: number | undefined
  let place = placeOf(path)
  let cancelLook = clock.after(LOOK_MS, look)

  function open(): FSWatcher {
    return watch(path, { ignoreInitial: true, depth: 0 }).on('all', (event, changed) => {
      if (event === 'addDir' && resolve(changed) === resolve(path)) renew()
      settle()
    })
  }

  /** chokidar tells that the directory is there again, but not what happens in the new one. */
  function renew(): void {
    const old = watcher
    place = placeOf(path)
    watcher = open().on('ready', settle).on('error', tell)
    void old.close()
  }

  /** The kernel tells what happens in a directory, but not when a path comes to lead to another one. */
  function look(): void {
    const now = placeOf(path)
    if (now !== undefined && now !== place) renew()
    cancelLook = clock.after(LOOK_MS, look)
  }

  function settle(): void {
    cancel()
    unrestSince ??= clock.monotonic()
    const left = unrestSince + LONGEST_UNREST_MS - clock.monotonic()
    cancel = clock.after(Math.max(0, Math.min(QUIET_MS, left)), () => {
      unrestSince = undefined
      onSettled()
    })
  }

  function tell(error: unknown): void {
    log.warn({ path, error }, 'watching a directory failed')
  }

  async function close(): Promise<void> {
    cancelLook()
    await watcher.close()
    cancel()
  }

  try {
    await ready(watcher, signal)
  } catch (error) {
    await close()
    throw signal?.aborted ? signal.reason : error
  }
  watcher.on('error', tell)
  return { close }
}

/** Which directory a path leads to; undefined: to none. */
function placeOf(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path, { bigint: true })
    return `${dev} ${ino} ${realpathSync(path)}`
  } catch {
    return undefined
  }
}

function ready(watcher: FSWatcher, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((done, reject) => {
    watcher.once('ready', () => done())
    watcher.once('error', reject)
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}
