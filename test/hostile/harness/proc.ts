import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

/** Nanoseconds that a process's main thread has been ready to run and was not let. */
export function waitedMs(pid: number | 'self'): number {
  try {
    const path = pid === 'self' ? '/proc/thread-self/schedstat' : `/proc/${pid}/task/${pid}/schedstat`
    return Number(readFileSync(path, 'utf8').split(' ')[1]) / 1e6
  } catch {
    return 0
  }
}

/** Of /proc/PID/status, in MiB; 0 when the process is gone. */
export function memoryMiB(pid: number): { rss: number; peak: number; held: number } {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    const of = (name: string) =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0) / 1024
    return { rss: of('VmRSS'), peak: of('VmHWM'), held: of('RssAnon') + of('RssShmem') }
  } catch {
    return { rss: 0, peak: 0, held: 0 }
  }
}

/** Resets VmHWM: from now on it is the peak since now. */
export function forgetPeak(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5')
  } catch {
    // Gone, or a kernel without it: then the older peak is reported.
  }
}

export function descriptors(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/fd`).length
  } catch {
    return 0
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Milliseconds of CPU that all threads of a process have had. */
export function processCpuMs(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => {
      const path = `/proc/${pid}/task/${thread}/schedstat`
      return sum + Number(readFileSync(path, 'utf8').split(' ')[0]) / 1e6
    }, 0)
  } catch {
    return 0
  }
}
