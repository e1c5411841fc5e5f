import { fork } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { extname } from 'node:path'
import type { Job, Told, Warm } from './messages.ts'

/** A process beside ours that works for us. */
export type Helper = {
  /** @throws RangeError, Error for what cannot be sent, such as an object of 10,000 levels */
  send(job: Job | Warm): void
  /** CPU time that the process has used, in milliseconds; undefined where the system does not tell. */
  cpuMs(): number | undefined
  /** At once, wherever it stands. */
  kill(): void
  /** Whether it keeps our own process alive. */
  hold(isHeld: boolean): void
  /** Replaces the listener before. */
  listen(listener: Listener): void
}

export type Listener = {
  onTold(told: Told): void
  /** It has ended, or could not be started. */
  onGone(): void
}

/** MiB of JavaScript objects; the rest of a bare process has 45, of which 35 are the program's own pages. */
export const HEAP_MIB = 64

const flags = [`--max-old-space-size=${HEAP_MIB}`, '--max-semi-space-size=2', '--no-maglev']

/** USER_HZ, which Linux fixes for all that it tells to programs. */
const TICKS_PER_SECOND = 100

/** `ts` from the sources, `js` from the build. */
const entry = new URL(`./entry${extname(import.meta.url)}`, import.meta.url)

/**
 * Nothing of the environment goes along but the time zone, which the filter date uses; nothing it prints comes out.
 * @param program what it runs
 */
export function startHelper(program = entry): Helper {
  const { TZ } = process.env
  const child = fork(program, [], {
    execArgv: flags,
    env: TZ === undefined ? {} : { TZ },
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  let listener: Listener | undefined
  let isGone = false
  const gone = () => {
    if (!isGone) listener?.onGone()
    isGone = true
  }
  const kill = () => void child.kill('SIGKILL')
  const forget = () => void process.off('exit', kill)
  // A process that is in a loop does not see that we are gone.
  process.on('exit', kill)
  child.on('message', (told) => listener?.onTold(told as Told))
  child.on('exit', () => {
    forget()
    gone()
  })
  child.on('error', () => {
    // It never came up, or cannot be spoken to: either way it is of no use.
    kill()
    forget()
    gone()
  })
  preferForOom(child.pid)
  return {
    send: (job) => void child.send(job, () => undefined),
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
      if (isGone) next.onGone()
    },
  }
}

/** When the container runs out of memory, the kernel shall take the helper and not the plugin. */
function preferForOom(pid: number | undefined): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, '1000')
  } catch {
    // Without /proc, or of another user.
  }
}

function cpuOf(pid: number | undefined): number | undefined {
  try {
    // The second field is a name in parentheses that may hold anything; utime and stime are the 14th and 15th.
    const [, rest = ''] = /^.*\) (.*)$/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? []
    const fields = rest.split(' ')
    const ticks = Number(fields[11]) + Number(fields[12])
    return Number.isNaN(ticks) ? undefined : (ticks * 1000) / TICKS_PER_SECOND
  } catch {
    return undefined
  }
}
