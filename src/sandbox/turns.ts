type Waiting = { start: () => void }

/** One task at a time; tasks of one namespace in their order, namespaces in turn: nobody waits behind another's queue. */
export type Turns = {
  /** @throws what `task` throws; the signal's reason, though a task that has begun goes on to its end */
  run<T>(namespace: string, signal: AbortSignal | undefined, task: () => Promise<T>): Promise<T>
}

export function createTurns(): Turns {
  /** In the order of their turns; one whose turn was goes to the end. */
  const queues = new Map<string, Waiting[]>()
  /** Whose task is under way. */
  let current: string | undefined

  function next(): void {
    // Who has just had a turn is the last to have another.
    const first = [...queues.keys()].find((namespace) => namespace !== current) ?? queues.keys().next().value
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
      return untilAborted(task().finally(next), signal)
    },
  }
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
