import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

/** Resident memory of a process as the kernel counts it, in MiB: `rss` is the sum of `anon`, `file` and `shmem`. */
export type ProcessMemory = {
  rss: number
  /** Its own: heap, stacks, what was written to. */
  anon: number
  /** Pages of files, Node's executable above all, that other processes of the node may share. */
  file: number
  shmem: number
  /** The most that `rss` ever was, or was since `forgetPeak`. */
  peak: number
}

export function readMemory(pid: number): ProcessMemory {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const mib = (field: string) => {
    const [, kib] = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status) ?? []
    if (kib === undefined) throw new Error(`process ${pid} has no ${field}`)
    return Number(kib) / 1024
  }
  return {
    rss: mib('VmRSS'),
    anon: mib('RssAnon'),
    file: mib('RssFile'),
    shmem: mib('RssShmem'),
    peak: mib('VmHWM'),
  }
}

/** From here on `peak` starts anew. */
export function forgetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5')
}

/** The one process of this machine that has `argument` on its command line. @throws Error when there is none, or more */
export function findProcess(argument: string): number {
  const found = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && hasArgument(name, argument))
  if (found.length !== 1) throw new Error(`${found.length} processes have the argument ${argument}`)
  return Number(found[0])
}

function hasArgument(pid: string, argument: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(argument)
  } catch {
    // It has ended since.
    return false
  }
}
