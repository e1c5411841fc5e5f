import { setImmediate } from 'node:timers/promises'
import { FaultError } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { PlainFault, Report, Results, Task } from './messages.ts'
import { HEAP_MIB, type SandboxProcess } from './sandbox-process.ts'

/** The CPU time that a task may use once its modules are loaded; `what` names the task in messages. */
export type TaskBudget = { cpuMs: number; what: string }

/** Runs tasks in sandbox processes, one at a time in each. Processes are started when needed and ended when idle. */
export type LimitedProcesses = {
  /**
   * The caller runs no more than two at a time.
   * @param onLong called once when the task turns out to take long: another process is ready, or soon will be
   * @throws FaultError that of the task; import_too_large with `endedBy`; internal; RangeError for a task that cannot
   * be sent
   */
  run<Kind extends Task['kind']>(
    task: Extract<Task, { kind: Kind }>,
    budget: TaskBudget,
    onLong?: () => void,
  ): Promise<Results[Kind]>
  close(): void
}

/** Processes, busy or idle: while one is busy with a long task, other tasks run in the other. */
const MOST_PROCESSES = 2
/** Milliseconds between two checks of a running task. */
const TICK_MS = 50
/**
 * Limit for a task that gets little CPU. Checks are counted and not milliseconds: time during which our own process is
 * blocked does not count.
 */
const MOST_TICKS = 100
/** A task that has used one twelfth of its budget is long: it may well exceed the rest. */
const LONG = 12
/** Limit for starting the process and loading modules, on a busy node. */
const MOST_LOADING_TICKS = 400
/** Milliseconds without a task after which idle processes are ended: one takes 70 MiB, and a start 0.15 s of CPU. */
const IDLE_MS = 15_000
/** A process with more resident memory after a task is not reused. */
const LARGEST_RSS_BYTES = 120 << 20

type Ending =
  | { result: unknown }
  | { fault: PlainFault }
  | { gone: 'before' | 'during' }
  | { endedBy: 'time' | 'loading' }

export function createLimitedProcesses({
  clock,
  start,
}: {
  clock: Clock
  start: () => SandboxProcess
}): LimitedProcesses {
  const busy = new Set<SandboxProcess>()
  /** The most recently used is last: its code is compiled. */
  const idle: SandboxProcess[] = []
  let cancelIdle = () => {}
  let isClosed = false

  async function run<Kind extends Task['kind']>(
    task: Extract<Task, { kind: Kind }>,
    budget: TaskBudget,
    onLong = () => {},
  ): Promise<Results[Kind]> {
    if (isClosed) throw new FaultError('shutting_down')
    const first = await attempt(task, budget, onLong)
    // The kernel may have killed an idle process: that is not this task's fault.
    const { ending, step } = isLost(first.ending) && !isClosed ? await attempt(task, budget, onLong) : first
    if ('result' in ending) return ending.result as Results[Kind]
    if ('fault' in ending) throw new FaultError(ending.fault.fault, ending.fault.facts)
    if (isClosed) throw new FaultError('shutting_down')
    throw endedFault(ending, budget, step)
  }

  async function attempt(
    task: Task,
    budget: TaskBudget,
    onLong: () => void,
  ): Promise<{ ending: Ending; step: string | undefined }> {
    const sandboxProcess = idle.pop() ?? start()
    busy.add(sandboxProcess)
    sandboxProcess.hold(true)
    return follow(sandboxProcess, task, budget, onLong)
  }

  function release(sandboxProcess: SandboxProcess): void {
    busy.delete(sandboxProcess)
    sandboxProcess.hold(false)
  }

  /** Sends the task and waits for its end: done, failed, over budget, or its process gone. */
  function follow(
    sandboxProcess: SandboxProcess,
    task: Task,
    budget: TaskBudget,
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
        release(sandboxProcess)
        cancelTick()
        if (rssBytes !== undefined && rssBytes <= LARGEST_RSS_BYTES && !isClosed) keepIdle(sandboxProcess)
        else {
          sandboxProcess.kill()
          // The same tenant often has another task, and other tenants must not wait for a start.
          if (isLong) prepareAnother()
        }
        resolve({ ending, step })
      }
      const check = async () => {
        // Reports that arrived while our own process was busy are handled first.
        await setImmediate()
        if (isOver) return
        ticks += 1
        if (begunCpuMs === undefined && ticks > MOST_LOADING_TICKS) return end({ endedBy: 'loading' })
        if (begunCpuMs !== undefined) {
          const usedMs = (sandboxProcess.cpuMs() ?? 0) - begunCpuMs
          if (!isLong && usedMs > budget.cpuMs / LONG) {
            isLong = true
            prepareAnother()
            onLong()
          }
          if (usedMs > budget.cpuMs || ticks > MOST_TICKS) return end({ endedBy: 'time' })
        }
        cancelTick = clock.after(TICK_MS, () => void check())
      }
      const onReport = (report: Report) => {
        if (report.kind === 'begun') {
          begunCpuMs = report.cpuMs
          ticks = 0
        } else if (report.kind === 'step') step = report.what
        else if (report.kind === 'done') end({ result: report.result }, report.rssBytes)
        else end({ fault: report.fault }, report.rssBytes)
      }
      const onExit = () => end({ gone: begunCpuMs === undefined ? 'before' : 'during' })
      sandboxProcess.listen({ onReport, onExit })
      cancelTick = clock.after(TICK_MS, () => void check())
      try {
        sandboxProcess.send(task)
      } catch (error) {
        isOver = true
        release(sandboxProcess)
        cancelTick()
        keepIdle(sandboxProcess)
        reject(error)
      }
    })
  }

  /** For tasks that come meanwhile. It is taken last, since its code is not compiled yet. */
  function prepareAnother(): void {
    if (isClosed || busy.size + idle.length >= MOST_PROCESSES) return
    const sandboxProcess = start()
    sandboxProcess.hold(false)
    keep(sandboxProcess, () => idle.unshift(sandboxProcess))
    sandboxProcess.send({ kind: 'warm-up' })
  }

  function keepIdle(sandboxProcess: SandboxProcess): void {
    keep(sandboxProcess, () => idle.push(sandboxProcess))
  }

  function keep(sandboxProcess: SandboxProcess, add: () => void): void {
    const forget = () => {
      const at = idle.indexOf(sandboxProcess)
      if (at >= 0) idle.splice(at, 1)
    }
    add()
    sandboxProcess.listen({ onReport: () => undefined, onExit: forget })
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
  { cpuMs, what }: TaskBudget,
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
