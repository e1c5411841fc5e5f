import { fork } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { extname } from 'node:path'
import { ignoreErrors } from '../core/errno.ts'
import type { Report, Task, WarmUp } from './messages.ts'

/** A child process that runs tasks. */
export type SandboxProcess = {
  /** @throws RangeError, Error for a message that cannot be sent, such as an object of 10,000 levels */
  send(message: Task | WarmUp): void
  /** CPU time that the process has used, in milliseconds; undefined where the system does not report it. */
  cpuMs(): number | undefined
  /** At once, whatever it does. */
  kill(): void
  /** Whether it keeps our own process alive. */
  hold(isHeld: boolean): void
  /** Replaces the listener before. */
  listen(listener: ProcessListener): void
}

export type ProcessListener = {
  onReport(report: Report): void
  /** It has ended, or could not be started. */
  onExit(): void
}

/** MiB of JavaScript objects; the rest of a bare process has 45, of which 35 are the program's own pages. */
export const HEAP_MIB = 64

const flags = [`--max-old-space-size=${HEAP_MIB}`, '--max-semi-space-size=2', '--no-maglev']

/** USER_HZ, which Linux fixes for all times that it reports to programs. */
const TICKS_PER_SECOND = 100

/** `ts` from the sources, `js` from the build. */
const entry = new URL(`./entry${extname(import.meta.url)}`, import.meta.url)

/**
 * Passes on no environment but the time zone, which the filter `date` uses, and discards all output.
 * @param program for tests
 */
export function startSandboxProcess(program = entry): SandboxProcess {
  const { TZ } = process.env
  const child = fork(program, [], {
    execArgv: flags,
    env: TZ === undefined ? {} : { TZ },
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  let listener: ProcessListener | undefined
  let isGone = false
  const noteExit = () => {
    if (!isGone) listener?.onExit()
    isGone = true
  }
  const kill = () => void child.kill('SIGKILL')
  const forget = () => void process.off('exit', kill)
  // A process in an endless loop does not notice that the plugin has ended.
  process.on('exit', kill)
  child.on('message', (report) => listener?.onReport(report as Report))
  child.on('exit', () => {
    forget()
    noteExit()
  })
  child.on('error', () => {
    // It never started, or its channel is broken.
    kill()
    forget()
    noteExit()
  })
  preferForOom(child.pid)
  return {
    send: (message) => void child.send(message, () => undefined),
    cpuMs: () => cpuOf(child.pid),
    kill,
    hold(isHeld) {
      const channel = child.channel
      if (isHeld) {
        child.ref()
        channel?.ref()
      } else {
        child.unref()
        channel?.unref()
      }
    },
    listen(next) {
      listener = next
      if (isGone) next.onExit()
    },
  }
}

/**
 * When the container runs out of memory, the kernel shall kill the sandbox process and not the plugin. Has no effect
 * without /proc, or for a process of another user.
 */
function preferForOom(pid: number | undefined): void {
  ignoreErrors(() => writeFileSync(`/proc/${pid}/oom_score_adj`, '1000'))
}

function cpuOf(pid: number | undefined): number | undefined {
  const stat = ignoreErrors(() => readFileSync(`/proc/${pid}/stat`, 'utf8'))
  // The second field is a name in parentheses that may hold anything; utime and stime are the 14th and 15th.
  const fields = /^.*\) (.*)$/s.exec(stat ?? '')?.[1]?.split(' ') ?? []
  const ticks = Number(fields[11]) + Number(fields[12])
  return Number.isNaN(ticks) ? undefined : (ticks * 1000) / TICKS_PER_SECOND
}
