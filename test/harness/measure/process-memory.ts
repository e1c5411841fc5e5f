import { readdirSync, readFileSync } from 'node:fs'

/** Resident memory as the kernel counts it, in MiB: `rss` is the sum of `anon`, `file` and `shmem`. */
export type ProcessMemory = {
  rss: number
  /** Its own: heap, stacks, what was written to. */
  anon: number
  /** Pages of files, Node's executable above all, that other processes of the node may share. */
  file: number
  shmem: number
  /** How many processes this is the sum of. */
  processes: number
}

/**
 * Of a process and of all that it has started, as `ps` would add them up: pages that they share count for each.
 * @throws Error when the process is gone
 */
export function readMemory(pid: number): ProcessMemory {
  const own = readOne(pid)
  if (own === undefined) throw new Error(`process ${pid} is gone`)
  const all = [own, ...descendants(pid).map(readOne)].filter((one) => one !== undefined)
  const sum = (part: (one: ProcessMemory) => number) => all.reduce((total, one) => total + part(one), 0)
  return {
    rss: sum((one) => one.rss),
    anon: sum((one) => one.anon),
    file: sum((one) => one.file),
    shmem: sum((one) => one.shmem),
    processes: sum((one) => one.processes),
  }
}

/** Samples until `stop`, which returns the maximum, in MiB. */
export function watchPeak(pid: number, everyMs = 500): { stop(): number } {
  let peak = 0
  const look = () => {
    peak = Math.max(peak, readMemory(pid).rss)
  }
  const timer = setInterval(look, everyMs).unref()
  look()
  return {
    stop() {
      clearInterval(timer)
      return peak
    },
  }
}

/**
 * The one process of this machine that has `argument` on its command line.
 * @throws Error when there is none, or more
 */
export function findProcess(argument: string): number {
  const found = processIds().filter((pid) => {
    const commandLine = tryRead(pid, 'cmdline')
    return commandLine?.split('\0').includes(argument)
  })
  const [pid] = found
  if (pid === undefined || found.length > 1) {
    throw new Error(`${found.length} processes have the argument ${argument}`)
  }
  return pid
}

/** Undefined when it has ended meanwhile. */
function readOne(pid: number): ProcessMemory | undefined {
  const status = tryRead(pid, 'status')
  // What has ended and is not waited for has none of the fields.
  if (status === undefined || !status.includes('VmRSS:')) return undefined
  const mib = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) / 1024
  return {
    rss: mib('VmRSS'),
    anon: mib('RssAnon'),
    file: mib('RssFile'),
    shmem: mib('RssShmem'),
    processes: 1,
  }
}

function descendants(pid: number): number[] {
  const parents = new Map(processIds().map((one) => [one, parentOf(one)]))
  const found = [pid]
  // Grows while it is gone through.
  for (const ancestor of found) {
    for (const [one, parent] of parents) if (parent === ancestor) found.push(one)
  }
  return found.slice(1)
}

function parentOf(pid: number): number | undefined {
  const [, parent] = /^PPid:\s+(\d+)$/m.exec(tryRead(pid, 'status') ?? '') ?? []
  return parent === undefined ? undefined : Number(parent)
}

function processIds(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
}

function tryRead(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return undefined
  }
}
