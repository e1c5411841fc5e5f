import { setImmediate } from 'node:timers/promises'
import { FaultError } from '../core/errors.ts'
import type { Clock } from '../core/ports.ts'
import { HEAP_MIB, type Helper } from './helper.ts'
import type { Job, PlainFault, Results, Told } from './messages.ts'

/** What one job may take: `cpuMs` of CPU time once its modules are loaded. `what` it is, for a message. */
export type Budget = { cpuMs: number; what: string }

/** One job after the other in a process beside ours, which is started when needed and ended when idle. */
export type Runner = {
  /**
   * One at a time: the caller queues.
   * @throws FaultError that of the job; import_too_large with `endedBy`; internal; RangeError for what cannot be sent
   */
  run<Kind extends Job['kind']>(job: Extract<Job, { kind: Kind }>, budget: Budget): Promise<Results[Kind]>
  close(): void
}

/** Milliseconds between two looks at a job under way. */
const TICK_MS = 50
/**
 * However little CPU it was given. Looks are counted and not milliseconds: while our own process stands still, nothing
 * of a job's time is over.
 */
const MOST_TICKS = 100
/** A job that has used this part of its budget may well be ended. */
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
  let idle: Helper | undefined
  let busy: Helper | undefined
  /** Started while a job takes long: if that is ended, the next one need not wait for a process. */
  let spare: Helper | undefined
  let cancelIdle = () => {}
  let isClosed = false

  async function run<Kind extends Job['kind']>(
    job: Extract<Job, { kind: Kind }>,
    budget: Budget,
  ): Promise<Results[Kind]> {
    if (isClosed) throw new FaultError('shutting_down')
    const first = await attempt(job, budget)
    // One that waited for work may have been taken by the kernel: that is no fault of this job.
    const { ending, step } = isLost(first.ending) && !isClosed ? await attempt(job, budget) : first
    if ('result' in ending) return ending.result as Results[Kind]
    if ('fault' in ending) throw new FaultError(ending.fault.fault, ending.fault.facts)
    if (isClosed) throw new FaultError('shutting_down')
    throw endedFault(ending, budget, step)
  }

  async function attempt(job: Job, budget: Budget): Promise<{ ending: Ending; step: string | undefined }> {
    cancelIdle()
    const helper = idle ?? spare ?? start()
    if (helper === spare) spare = undefined
    idle = undefined
    busy = helper
    helper.hold(true)
    try {
      return await follow(helper, job, budget)
    } finally {
      busy = undefined
      helper.hold(false)
    }
  }

  /** Sends the job and waits for its end, whoever brings it about. */
  function follow(
    helper: Helper,
    job: Job,
    budget: Budget,
  ): Promise<{ ending: Ending; step: string | undefined }> {
    return new Promise((resolve, reject) => {
      let begunCpuMs: number | undefined
      let step: string | undefined
      let ticks = 0
      let cancelTick = () => {}
      let isOver = false

      const end = (ending: Ending, rssBytes?: number) => {
        if (isOver) return
        isOver = true
        cancelTick()
        if (rssBytes !== undefined && rssBytes <= LARGEST_RSS && !isClosed) rest(helper)
        else {
          helper.kill()
          if (spare !== undefined) rest(spare)
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
          if (usedMs > budget.cpuMs / LONG) prepareSpare()
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
        cancelTick()
        rest(helper)
        reject(error)
      }
    })
  }

  function prepareSpare(): void {
    if (spare !== undefined || isClosed) return
    const helper = start()
    spare = helper
    helper.hold(false)
    helper.listen({ onTold: () => undefined, onGone: () => (spare = spare === helper ? undefined : spare) })
    helper.send({ kind: 'warm' })
  }

  function rest(used: Helper): void {
    // Two are not kept; the spare one holds less.
    const helper = spare ?? used
    if (helper !== used) used.kill()
    spare = undefined
    const forget = () => {
      if (idle === helper) idle = undefined
    }
    idle = helper
    helper.listen({ onTold: () => undefined, onGone: forget })
    cancelIdle = clock.after(IDLE_MS, () => {
      forget()
      helper.kill()
    })
  }

  return {
    run,
    close() {
      isClosed = true
      cancelIdle()
      idle?.kill()
      busy?.kill()
      spare?.kill()
      idle = undefined
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
