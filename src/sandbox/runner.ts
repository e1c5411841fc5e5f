import { setImmediate } from 'node:timers/promises'
import { FaultError } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import { HEAP_MIB, type Helper } from './helper.ts'
import type { Job, PlainFault, Results, Told } from './messages.ts'

/** What one job may take: `cpuMs` of CPU time once its modules are loaded. `what` it is, for a message. */
export type Budget = { cpuMs: number; what: string }

/** Jobs in processes beside ours, one at a time in each, which are started when needed and ended when idle. */
export type Runner = {
  /**
   * The caller queues: it runs no more than two at a time.
   * @param onLong told once, when the job turns out to take long: another process is ready soon, or is already
   * @throws FaultError that of the job; import_too_large with `endedBy`; internal; RangeError for what cannot be sent
   */
  run<Kind extends Job['kind']>(
    job: Extract<Job, { kind: Kind }>,
    budget: Budget,
    onLong?: () => void,
  ): Promise<Results[Kind]>
  close(): void
}

/** Processes, at work or idle: while a job takes long in one, others' jobs run in the other. */
const MOST_PROCESSES = 2
/** Milliseconds between two looks at a job under way. */
const TICK_MS = 50
/**
 * However little CPU it was given. Looks are counted and not milliseconds: while our own process stands still, nothing
 * of a job's time is over.
 */
const MOST_TICKS = 100
/** A job that has used this part of its budget takes long, and may well be ended. */
const LONG = 12
/** For starting the process and loading modules, on a node that is busy. */
const MOST_LOADING_TICKS = 400
/** Milliseconds without a job after which the process is ended: it holds 70 MiB, and a start costs 0.15 s of CPU. */
const IDLE_MS = 15_000
/** Bytes of resident memory after a job that are not kept for the next. */
const LARGEST_RSS = 120 << 20

type Ending =
  | { result: unknown }
  | { fault: PlainFault }
  | { gone: 'before' | 'during' }
  | { endedBy: 'time' | 'loading' }

export function createRunner({ clock, start }: { clock: Clock; start: () => Helper }): Runner {
  const busy = new Set<Helper>()
  /** The one used last is at the end: its code is compiled. */
  const idle: Helper[] = []
  let cancelIdle = () => {}
  let isClosed = false

  async function run<Kind extends Job['kind']>(
    job: Extract<Job, { kind: Kind }>,
    budget: Budget,
    onLong = () => {},
  ): Promise<Results[Kind]> {
    if (isClosed) throw new FaultError('shutting_down')
    const first = await attempt(job, budget, onLong)
    // One that waited for work may have been taken by the kernel: that is no fault of this job.
    const { ending, step } = isLost(first.ending) && !isClosed ? await attempt(job, budget, onLong) : first
    if ('result' in ending) return ending.result as Results[Kind]
    if ('fault' in ending) throw new FaultError(ending.fault.fault, ending.fault.facts)
    if (isClosed) throw new FaultError('shutting_down')
    throw endedFault(ending, budget, step)
  }

  async function attempt(
    job: Job,
    budget: Budget,
    onLong: () => void,
  ): Promise<{ ending: Ending; step: string | undefined }> {
    const helper = idle.pop() ?? start()
    busy.add(helper)
    helper.hold(true)
    return follow(helper, job, budget, onLong)
  }

  function release(helper: Helper): void {
    busy.delete(helper)
    helper.hold(false)
  }

  /** Sends the job and waits for its end, whoever brings it about. */
  function follow(
    helper: Helper,
    job: Job,
    budget: Budget,
    onLong: () => void,
  ): Promise<{ ending: Ending; step: string | undefined }> {
    return new Promise((resolve, reject) => {
      let begunCpuMs: number | undefined
      let step: string | undefined
      let ticks = 0
      let isLong = false
      let cancelTick = () => {}
      let isOver = false

      const end = (ending: Ending, rssBytes?: number) => {
        if (isOver) return
        isOver = true
        release(helper)
        cancelTick()
        if (rssBytes !== undefined && rssBytes <= LARGEST_RSS && !isClosed) rest(helper)
        else {
          helper.kill()
          // Whose job was ended often comes with another, and who comes after it must not wait for a start.
          if (isLong) prepareAnother()
        }
        resolve({ ending, step })
      }
      const look = async () => {
        // What the process has said already, while we were busy ourselves, is heard first.
        await setImmediate()
        if (isOver) return
        ticks += 1
        if (begunCpuMs === undefined && ticks > MOST_LOADING_TICKS) return end({ endedBy: 'loading' })
        if (begunCpuMs !== undefined) {
          const usedMs = (helper.cpuMs() ?? 0) - begunCpuMs
          if (!isLong && usedMs > budget.cpuMs / LONG) {
            isLong = true
            prepareAnother()
            onLong()
          }
          if (usedMs > budget.cpuMs || ticks > MOST_TICKS) return end({ endedBy: 'time' })
        }
        cancelTick = clock.after(TICK_MS, () => void look())
      }
      const onTold = (told: Told) => {
        if (told.kind === 'begun') {
          begunCpuMs = told.cpuMs
          ticks = 0
        } else if (told.kind === 'step') step = told.what
        else if (told.kind === 'done') end({ result: told.result }, told.rssBytes)
        else end({ fault: told.fault }, told.rssBytes)
      }
      const onGone = () => end({ gone: begunCpuMs === undefined ? 'before' : 'during' })
      helper.listen({ onTold, onGone })
      cancelTick = clock.after(TICK_MS, () => void look())
      try {
        helper.send(job)
      } catch (error) {
        isOver = true
        release(helper)
        cancelTick()
        rest(helper)
        reject(error)
      }
    })
  }

  /** For those who come meanwhile. Taken last: it is cold. */
  function prepareAnother(): void {
    if (isClosed || busy.size + idle.length >= MOST_PROCESSES) return
    const helper = start()
    helper.hold(false)
    keep(helper, () => idle.unshift(helper))
    helper.send({ kind: 'warm' })
  }

  function rest(helper: Helper): void {
    keep(helper, () => idle.push(helper))
  }

  function keep(helper: Helper, add: () => void): void {
    const forget = () => {
      const at = idle.indexOf(helper)
      if (at >= 0) idle.splice(at, 1)
    }
    add()
    helper.listen({ onTold: () => undefined, onGone: forget })
    cancelIdle()
    cancelIdle = clock.after(IDLE_MS, () => {
      for (const one of idle.splice(0)) one.kill()
    })
  }

  return {
    run,
    close() {
      isClosed = true
      cancelIdle()
      for (const one of [...busy, ...idle.splice(0)]) one.kill()
    },
  }
}

function isLost(ending: Ending): boolean {
  return 'gone' in ending && ending.gone === 'before'
}

function endedFault(
  ending: Exclude<Ending, { result: unknown } | { fault: PlainFault }>,
  { cpuMs, what }: Budget,
  step: string | undefined,
): FaultError {
  const at = step === undefined ? '' : `, ended at ${step}`
  if ('gone' in ending && ending.gone === 'during') {
    const reason = `${what} takes more than ${HEAP_MIB} MiB of memory${at}`
    return new FaultError('import_too_large', { reason, endedBy: 'memory' })
  }
  if ('endedBy' in ending && ending.endedBy === 'time') {
    const reason = `${what} takes more than ${cpuMs} ms of CPU time${at}`
    return new FaultError('import_too_large', { reason, endedBy: 'time' })
  }
  return new FaultError('internal', {}, new Error('the sandbox process could not be started'))
}
