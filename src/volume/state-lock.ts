import { closeSync, constants, ftruncateSync, mkdirSync, openSync, readSync, writeSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { errorCode } from '../core/errno.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import { createSyscalls, type Syscalls } from './syscalls.ts'

/** An orderly stop takes up to 20 s of the 30 s that kubelet gives a pod before it is killed. */
const WAIT_MS = 60_000
const TRY_EVERY_MS = 250
/** More than a holder writes about itself. */
const NOTE_BYTES = 512
const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants

/**
 * Makes this process the only one with its state directory, hence with the volumes in its ledger. The kernel keeps the
 * lock (flock(2)) and releases it however the process ends. Waits for a process that is still stopping, as in a rollout.
 * @param deps.onWait called once when another process holds the lock
 * @returns releases the lock
 * @throws Error naming the holder when it does not end in time, or the directory when it cannot be used
 */
export async function lockStateDirectory(deps: {
  stateDir: string
  clock: Pick<Clock, 'now' | 'monotonic' | 'sleep'>
  log: Log
  onWait?: () => void
  syscalls?: Pick<Syscalls, 'tryLock'>
}): Promise<() => void> {
  const { stateDir, clock, log, onWait, syscalls = createSyscalls() } = deps
  const fd = openLock(stateDir)
  try {
    await waitFor(fd)
    leaveNote(fd, new Date(clock.now()))
    return () => closeSync(fd)
  } catch (error) {
    closeSync(fd)
    throw error
  }

  async function waitFor(lock: number): Promise<void> {
    const until = clock.monotonic() + WAIT_MS
    let isReported = false
    while (!syscalls.tryLock(lock)) {
      const holder = readNote(lock)
      if (clock.monotonic() >= until) throw held(stateDir, holder)
      if (!isReported) {
        log.warn({ stateDir, holder }, 'another process holds the state directory, waiting for its end')
        onWait?.()
      }
      isReported = true
      await clock.sleep(TRY_EVERY_MS)
    }
  }
}

function openLock(stateDir: string): number {
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 })
    return openSync(join(stateDir, 'lock'), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600)
  } catch (error) {
    const code = errorCode(error) ?? 'error'
    const reason = `--state-dir "${stateDir}" cannot be used (${code})`
    throw new Error(`${reason}: it must be a directory of this node that root may write`, { cause: error })
  }
}

/** For a process that finds the lock held. In a container the pid says little; the host name is the pod's. */
function leaveNote(fd: number, since: Date): void {
  const note = Buffer.from(`pid ${process.pid} on ${hostname()} since ${since.toISOString()}\n`)
  ftruncateSync(fd)
  writeSync(fd, note.subarray(0, NOTE_BYTES), 0, undefined, 0)
}

function readNote(fd: number): string {
  const note = Buffer.alloc(NOTE_BYTES)
  const size = readSync(fd, note, 0, note.byteLength, 0)
  const text = note
    .subarray(0, size)
    .toString()
    .replace(/[^ -~]/g, '')
    .trim()
  return text === '' ? 'an unknown process' : text
}

function held(stateDir: string, holder: string): Error {
  return new Error(
    `another process of the plugin (${holder}) holds --state-dir "${stateDir}" and did not end within ` +
      `${WAIT_MS / 1000} s: end it, or, for a second release on this node, give this one a --state-dir, a driver ` +
      `name and sockets of its own`,
  )
}
