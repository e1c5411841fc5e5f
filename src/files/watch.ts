import { realpathSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { type FSWatcher, watch } from 'chokidar'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'

/** Without a change for this long, files count as completely written. */
const QUIET_MS = 50
/** The longest delay for a directory that changes all the time. */
const LONGEST_DEBOUNCE_MS = 1_000
/** Between checks that the path still leads to the watched directory. */
const CHECK_MS = 1_000

/**
 * Follows a directory: its files, renames over them, and the `..data` link that kubelet swaps in ConfigMap volumes.
 * A swapped link on the way to it, as git-sync does, is noticed within a second or two.
 * `onChange` is called 50 ms after the last of a burst of changes, without saying what changed.
 * @throws the file system's error when watching cannot begin; the signal's reason when it aborts before
 */
export async function watchDirectory(options: {
  path: string
  clock: Clock
  log: Log
  onChange: () => void
  signal?: AbortSignal
}): Promise<{ close(): Promise<void> }> {
  const { path, clock, log, onChange, signal } = options
  signal?.throwIfAborted()
  let watcher = open()
  let cancel = () => {}
  let changingSince: number | undefined
  let directory = directoryAt(path)
  let cancelCheck = clock.after(CHECK_MS, checkPath)

  function open(): FSWatcher {
    return watch(path, { ignoreInitial: true, depth: 0 }).on('all', (event, changed) => {
      if (event === 'addDir' && resolve(changed) === resolve(path)) reopen()
      debounce()
    })
  }

  /** chokidar reports that the directory was created again, but no changes in the new one. */
  function reopen(): void {
    const old = watcher
    directory = directoryAt(path)
    watcher = open().on('ready', debounce).on('error', logError)
    void old.close()
  }

  /** The kernel reports changes in a directory, but not that a path leads to another one. */
  function checkPath(): void {
    const now = directoryAt(path)
    if (now !== undefined && now !== directory) reopen()
    cancelCheck = clock.after(CHECK_MS, checkPath)
  }

  function debounce(): void {
    cancel()
    changingSince ??= clock.monotonic()
    const left = changingSince + LONGEST_DEBOUNCE_MS - clock.monotonic()
    cancel = clock.after(Math.max(0, Math.min(QUIET_MS, left)), () => {
      changingSince = undefined
      onChange()
    })
  }

  function logError(error: unknown): void {
    log.warn({ path, error }, 'watching a directory failed')
  }

  async function close(): Promise<void> {
    cancelCheck()
    await watcher.close()
    cancel()
  }

  try {
    await ready(watcher, signal)
  } catch (error) {
    await close()
    throw signal?.aborted ? signal.reason : error
  }
  watcher.on('error', logError)
  return { close }
}

/** Identifies the directory that the path leads to; undefined: none. */
function directoryAt(path: string): string | undefined {
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
