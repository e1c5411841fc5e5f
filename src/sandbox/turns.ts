import { FaultError } from '../core/faults/fault.ts'

type Waiting = { start: () => void }
type Running = { namespace: string; isLong: boolean }

/** Tasks under way, of which all but one take long. */
const MOST_AT_ONCE = 2
/** Namespaces that are remembered for a task that had to be ended. */
const MOST_LATE = 1_000

/**
 * One task at a time; tasks of one namespace in their order, namespaces in turn: nobody waits behind another's queue.
 * Beside a task that says that it takes long another namespace's may begin. A namespace whose last task had to be ended
 * comes after all others that wait.
 */
export type Turns = {
  /** @throws what `task` throws; the signal's reason, though a task that has begun goes on to its end */
  run<T>(
    namespace: string,
    signal: AbortSignal | undefined,
    task: (onLong: () => void) => Promise<T>,
  ): Promise<T>
}

export function createTurns(): Turns {
  /** In the order of their turns; one whose turn was goes to the end. */
  const queues = new Map<string, Waiting[]>()
  const running = new Set<Running>()
  /** Who has had a turn last is the last to have another. */
  let latest: string | undefined
  /** Whose last task had to be ended. */
  const late = new Set<string>()

  function noteEnding(namespace: string, error: unknown): void {
    if (!(error instanceof FaultError) || error.facts.endedBy === undefined) return
    if (late.size >= MOST_LATE) late.clear()
    late.add(namespace)
  }

  function hasPlace(namespace: string): boolean {
    if (running.size === 0) return true
    const others = [...running]
    return running.size < MOST_AT_ONCE && others.every((one) => one.isLong && one.namespace !== namespace)
  }

  function admit(): void {
    const waiting = [...queues.keys()].filter(hasPlace)
    const inTime = waiting.filter((namespace) => !late.has(namespace))
    const first = otherThan(latest, inTime) ?? otherThan(latest, waiting)
    if (first === undefined) return
    const [next, ...rest] = queues.get(first) ?? []
    queues.delete(first)
    if (rest.length > 0) queues.set(first, rest)
    next?.start()
  }

  function take(namespace: string): Running {
    const place = { namespace, isLong: false }
    running.add(place)
    latest = namespace
    return place
  }

  function give(place: Running): void {
    running.delete(place)
    admit()
  }

  function leave(namespace: string, waiting: Waiting): void {
    const rest = queues.get(namespace)?.filter((one) => one !== waiting) ?? []
    if (rest.length > 0) queues.set(namespace, rest)
    else queues.delete(namespace)
  }

  function turn(namespace: string, signal: AbortSignal | undefined): Promise<Running> {
    // Whoever could go has gone: none of those that wait can.
    if (hasPlace(namespace)) return Promise.resolve(take(namespace))
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        leave(namespace, waiting)
        reject(signal?.reason)
      }
      const waiting: Waiting = {
        start: () => {
          signal?.removeEventListener('abort', onAbort)
          resolve(take(namespace))
        },
      }
      queues.set(namespace, [...(queues.get(namespace) ?? []), waiting])
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  return {
    async run(namespace, signal, task) {
      signal?.throwIfAborted()
      const place = await turn(namespace, signal)
      if (signal?.aborted) {
        give(place)
        throw signal.reason
      }
      const ending = task(() => {
        place.isLong = true
        admit()
      })
      ending.then(
        () => void late.delete(namespace),
        (error: unknown) => noteEnding(namespace, error),
      )
      return untilAborted(
        ending.finally(() => give(place)),
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
