import { FaultError } from '../core/faults/fault.ts'

type Waiting = { start: () => void }
type Running = { namespace: string; isLong: boolean }

/** Running tasks; all but one of them are long. */
const MOST_AT_ONCE = 2
/** Remembered namespaces whose last task was ended. */
const MOST_PENALIZED = 1_000

/**
 * Runs one task at a time, round-robin between namespaces: no namespace waits behind another's queue. Tasks of one
 * namespace run in order. While a task that reports itself long is running, one of another namespace may start. A
 * namespace whose last task was ended for exceeding its budget comes after all others that wait.
 */
export type TaskQueue = {
  /** @throws errors of `task`; the signal's reason, though a task that has started runs to its end */
  run<T>(
    namespace: string,
    signal: AbortSignal | undefined,
    task: (onLong: () => void) => Promise<T>,
  ): Promise<T>
}

export function createTaskQueue(): TaskQueue {
  /** In the order in which they come next; one that was served goes to the end. */
  const queues = new Map<string, Waiting[]>()
  const running = new Set<Running>()
  /** The namespace served last comes after the others. */
  let latest: string | undefined
  /** Namespaces whose last task was ended. */
  const penalized = new Set<string>()

  function noteEnding(namespace: string, error: unknown): void {
    if (!(error instanceof FaultError) || error.facts.endedBy === undefined) return
    if (penalized.size >= MOST_PENALIZED) penalized.clear()
    penalized.add(namespace)
  }

  function mayStart(namespace: string): boolean {
    if (running.size === 0) return true
    const others = [...running]
    return running.size < MOST_AT_ONCE && others.every((one) => one.isLong && one.namespace !== namespace)
  }

  function startNext(): void {
    const waiting = [...queues.keys()].filter(mayStart)
    const preferred = waiting.filter((namespace) => !penalized.has(namespace))
    const first = otherThan(latest, preferred) ?? otherThan(latest, waiting)
    if (first === undefined) return
    const [next, ...rest] = queues.get(first) ?? []
    queues.delete(first)
    if (rest.length > 0) queues.set(first, rest)
    next?.start()
  }

  function start(namespace: string): Running {
    const entry = { namespace, isLong: false }
    running.add(entry)
    latest = namespace
    return entry
  }

  function finish(entry: Running): void {
    running.delete(entry)
    startNext()
  }

  function leave(namespace: string, waiting: Waiting): void {
    const rest = queues.get(namespace)?.filter((one) => one !== waiting) ?? []
    if (rest.length > 0) queues.set(namespace, rest)
    else queues.delete(namespace)
  }

  function enter(namespace: string, signal: AbortSignal | undefined): Promise<Running> {
    // Waiting tasks that could start have started already, so this one overtakes none.
    if (mayStart(namespace)) return Promise.resolve(start(namespace))
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        leave(namespace, waiting)
        reject(signal?.reason)
      }
      const waiting: Waiting = {
        start: () => {
          signal?.removeEventListener('abort', onAbort)
          resolve(start(namespace))
        },
      }
      queues.set(namespace, [...(queues.get(namespace) ?? []), waiting])
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  return {
    async run(namespace, signal, task) {
      signal?.throwIfAborted()
      const entry = await enter(namespace, signal)
      if (signal?.aborted) {
        finish(entry)
        throw signal.reason
      }
      const ending = task(() => {
        entry.isLong = true
        startNext()
      })
      ending.then(
        () => void penalized.delete(namespace),
        (error: unknown) => noteEnding(namespace, error),
      )
      return untilAborted(
        ending.finally(() => finish(entry)),
        signal,
      )
    },
  }
}

function otherThan(namespace: string | undefined, all: readonly string[]): string | undefined {
  return all.find((one) => one !== namespace) ?? all[0]
}

function untilAborted<T>(running: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return running
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    running.finally(() => signal.removeEventListener('abort', onAbort)).then(resolve, reject)
  })
}
