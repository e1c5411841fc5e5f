import { resolve } from 'node:path'
import { type FSWatcher, watch } from 'chokidar'
import type { Clock, Log } from '../core/ports.ts'

/** Quiet time after which what was being written is taken for whole. */
const QUIET_MS = 50
/** A directory that never comes to rest is looked at all the same. */
const LONGEST_UNREST_MS = 1_000

/**
 * Follows a directory: its files, renames over them, and the `..data` link that kubelet swaps in ConfigMap volumes.
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

  function open(): FSWatcher {
    return watch(path, { ignoreInitial: true, depth: 0 }).on('all', (event, changed) => {
      if (event === 'addDir' && resolve(changed) === resolve(path)) renew()
      settle()
    })
  }

  /** chokidar tells that the directory is there again, but not what happens in the new one. */
  function renew(): void {
    const old = watcher
    watcher = open().on('ready', settle).on('error', tell)
    void old.close()
  }

  function settle(): void {
    cancel()
    unrestSince ??= clock.now()
    const left = unrestSince + LONGEST_UNREST_MS - clock.now()
    cancel = clock.after(Math.max(0, Math.min(QUIET_MS, left)), () => {
      unrestSince = undefined
      onSettled()
    })
  }

  function tell(error: unknown): void {
    log.warn({ path, error }, 'watching a directory failed')
  }

  async function close(): Promise<void> {
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

function ready(watcher: FSWatcher, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((done, reject) => {
    watcher.once('ready', () => done())
    watcher.once('error', reject)
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}
