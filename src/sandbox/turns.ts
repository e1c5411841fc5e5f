import { FaultError } from '../core/errors.ts'

type Waiting = { start: () => void }

/** Namespaces that are remembered for a task that had to be ended. */
const MOST_LATE = 1_000

/**
 * One task at a time; tasks of one namespace in their order, namespaces in turn: nobody waits behind another's queue. A
 * namespace whose last task had to be ended comes after all others that wait.
 */
export type Turns = {
  /** @throws what `task` throws; the signal's reason, though a task that has begun goes on to its end */
  run<T>(namespace: string, signal: AbortSignal | undefined, task: () => Promise<T>): Promise<T>
}

export function createTurns(): Turns {
  /** In the order of their turns; one whose turn was goes to the end. */
  const queues = new Map<string, Waiting[]>()
  /** Whose task is under way. */
  let current: string | undefined
  /** Whose last task had to be ended. */
  const late = new Set<string>()

  function noteEnding(namespace: string, error: unknown): void {
    if (!(error instanceof FaultError) || error.facts.endedBy === undefined) return
    if (late.size >= MOST_LATE) late.clear()
    late.add(namespace)
  }

  function next(): void {
    const waiting = [...queues.keys()]
    const inTime = waiting.filter((namespace) => !late.has(namespace))
    // Who has just had a turn is the last to have another.
    const first = otherThan(current, inTime) ?? otherThan(current, waiting)
    current = first
    if (first !== undefined) begin(first, queues.get(first) ?? [])
  }

  function begin(namespace: string, queue: readonly Waiting[]): void {
    const [waiting, ...rest] = queue
    queues.delete(namespace)
    if (rest.length > 0) queues.set(namespace, rest)
    waiting?.start()
  }

  function leave(namespace: string, waiting: Waiting): void {
    const rest = queues.get(namespace)?.filter((one) => one !== waiting) ?? []
    if (rest.length > 0) queues.set(namespace, rest)
    else queues.delete(namespace)
  }

  function turn(namespace: string, signal: AbortSignal | undefined): Promise<void> {
    if (current === undefined) {
      current = namespace
      return Promise.resolve()
    }
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        leave(namespace, waiting)
        reject(signal?.reason)
      }
      const waiting: Waiting = {
        start: () => {
          signal?.removeEventListener('abort', onAbort)
          resolve()
        },
      }
      queues.set(namespace, [...(queues.get(namespace) ?? []), waiting])
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  return {
    async run(namespace, signal, task) {
      signal?.throwIfAborted()
      await turn(namespace, signal)
      if (signal?.aborted) {
        next()
        throw signal.reason
      }
      const running = task()
      running.then(
        () => void late.delete(namespace),
        (error: unknown) => noteEnding(namespace, error),
      )
      return untilAborted(running.finally(next), signal)
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
