import { readFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'

const MIB = 2 ** 20
/** Registration, and kubelet's repeated publishes after a restart, are over by then. */
const START_MS = 3_000
const CHECK_MS = 20_000
/** Share of the time since the last check in which the event loop was busy. Above it, a pause would delay calls. */
const BUSY = 0.1
/** Growth of anonymous memory since the last compaction that leads to the next one. */
const GROWTH_BYTES = 8 * MIB
/** A compaction takes 2 ms for each MiB of heap; a larger one is left to V8, which collects it in small steps. */
const LARGEST_HEAP_BYTES = 32 * MIB
/** An idle plugin uses 10 to 30 MiB of mapped files, most of it Node's executable. */
const FILE_BYTES = 34 * MIB

type CollectGarbage = (options: { type: 'major'; execution: 'sync'; flavor: 'last-resort' }) => void

export type MemoryUse = {
  /** Resident anonymous pages, in bytes. */
  anonymous: number
  /** Resident pages of mapped files, in bytes. */
  file: number
  heapUsed: number
}

export type MemoryReleaseDeps = {
  clock: Pick<Clock, 'after'>
  log: Log
  memory(): MemoryUse
  /** Share of the time since the last call in which the event loop was busy, 0 to 1. */
  utilization(): number
  compactHeap(): void
  releaseExecutable(): void
}

/**
 * Returns memory to the system once the program is loaded, and later whenever the process has grown and is mostly idle,
 * such as after many publishes. A check that finds nothing to do takes 0.1 ms.
 */
export function startMemoryRelease(deps: MemoryReleaseDeps): void {
  const { clock, log, memory, utilization, compactHeap, releaseExecutable } = deps
  let anonymousBefore = 0

  function release(): void {
    const { anonymous, file, heapUsed } = memory()
    anonymousBefore = Math.min(anonymousBefore, anonymous)
    if (anonymous >= anonymousBefore + GROWTH_BYTES && heapUsed <= LARGEST_HEAP_BYTES) {
      compactHeap()
      anonymousBefore = memory().anonymous
    }
    if (file >= FILE_BYTES) releaseExecutable()
  }

  function check(): void {
    try {
      release()
      next()
    } catch (error) {
      log.warn({ error }, 'memory cannot be released, continuing without')
    }
  }

  function next(): void {
    clock.after(CHECK_MS, () => (utilization() > BUSY ? next() : check()))
  }

  clock.after(START_MS, check)
}

/** Of this process. */
export function readMemoryUse(): MemoryUse {
  const status = readFileSync('/proc/self/status', 'utf8')
  const bytes = (field: string) =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) * 1024
  return {
    anonymous: bytes('RssAnon'),
    file: bytes('RssFile'),
    heapUsed: process.memoryUsage().heapUsed,
  }
}

/**
 * Releases what loading the program left: sources, byte code that ran once, half-empty pages. V8 does this only when
 * memory runs short, and on a node other pods' memory runs short with it. Takes 50 ms and frees 6 MiB of 87.
 */
export function compactHeap(): void {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as CollectGarbage
  collectGarbage({ type: 'major', execution: 'sync', flavor: 'last-resort' })
}
