import { readFileSync } from 'node:fs'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'

const MIB = 2 ** 20
/** By then registration, and the republishes that follow a restart, have passed. */
const START_MS = 3_000
const CHECK_MS = 20_000
/** Share of the time since the last check in which the event loop was busy: above it, a pause would be felt. */
const BUSY = 0.1
/** How much more the process may hold of its own than after the last compaction. */
const GROWTH_BYTES = 8 * MIB
/** A compaction takes 2 ms for each MiB of heap; a larger one is left to V8, which collects it in small steps. */
const LARGEST_HEAP_BYTES = 32 * MIB
/** At rest the plugin comes to use 10 to 30 MiB of files, Node's executable above all. */
const FILE_BYTES = 34 * MIB

export type MemoryUse = {
  /** Resident pages of the process's own, in bytes. */
  anonymous: number
  /** Resident pages of files that are mapped, in bytes. */
  file: number
  heapUsed: number
}

export type MemoryTrimDeps = {
  clock: Pick<Clock, 'after'>
  log: Log
  memory(): MemoryUse
  /** Share of the time since the last call in which the event loop was busy, 0 to 1. */
  utilization(): number
  compactHeap(): void
  releaseExecutable(): void
}

/**
 * Gives memory back once the program is loaded, and afterwards whenever the process has grown and has little to do:
 * after many publishes, say. A check that finds nothing to do takes 0.1 ms.
 */
export function startMemoryTrim(deps: MemoryTrimDeps): void {
  const { clock, log, memory, utilization, compactHeap, releaseExecutable } = deps
  let anonymousBefore = 0

  function trim(): void {
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
      trim()
      next()
    } catch (error) {
      log.warn({ error }, 'memory cannot be given back, going on without')
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
