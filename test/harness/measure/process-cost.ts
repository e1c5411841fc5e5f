import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** Linux counts processor time in hundredths of a second. */
const TICKS = 100

/** The resources that a process has used so far, from the kernel. */
export type ProcessCost = { cpuSeconds: number; rssMiB: number; sockets: number }

export function costOf(pid: number): ProcessCost {
  // The name of the program, which may hold blanks, ends with the last parenthesis.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/s, '').trim().split(' ')
  const rss = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS,
    rssMiB: Number(rss) / 1024,
    sockets: readdirSync(`/proc/${pid}/fd`).filter((fd) => isSocket(pid, fd)).length,
  }
}

function isSocket(pid: number, fd: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:')
  } catch {
    return false
  }
}
