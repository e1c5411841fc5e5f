/** Calls of which only so many are under way at once, the namespaces in turn: whoever asks for much waits for itself. */
export type Turns = {
  /** @throws what the task throws; the signal's reason when it aborts before the task's turn */
  run<T>(namespace: string, task: () => Promise<T>, signal: AbortSignal): Promise<T>
}

/** @param most under way at once, of all and of one namespace: with less, calls that hang leave room for others' */
export function createTurns(most: { all: number; namespace: number }): Turns {
  /** Those that wait, by namespace; the namespace whose turn is next stands first. */
  const waiting = new Map<string, Set<() => void>>()
  const running = new Map<string, number>()
  let all = 0

  function admitNext(): void {
    if (all >= most.all) return
    for (const [namespace, queue] of waiting) {
      const [admit] = queue
      if (admit === undefined || count(namespace) >= most.namespace) continue
      queue.delete(admit)
      waiting.delete(namespace)
      // Behind all others.
      if (queue.size > 0) waiting.set(namespace, queue)
      add(namespace, 1)
      admit()
      return
    }
  }

  function count(namespace: string): number {
    return running.get(namespace) ?? 0
  }

  function add(namespace: string, change: 1 | -1): void {
    all += change
    const now = count(namespace) + change
    if (now > 0) running.set(namespace, now)
    else running.delete(namespace)
  }

  function enter(namespace: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted()
      const queue = waiting.get(namespace) ?? new Set()
      const admit = () => {
        signal.removeEventListener('abort', giveUp)
        resolve()
      }
      const giveUp = () => {
        queue.delete(admit)
        if (queue.size === 0 && waiting.get(namespace) === queue) waiting.delete(namespace)
        reject(signal.reason)
      }
      signal.addEventListener('abort', giveUp, { once: true })
      waiting.set(namespace, queue.add(admit))
      admitNext()
    })
  }

  return {
    async run(namespace, task, signal) {
      await enter(namespace, signal)
      try {
        return await task()
      } finally {
        add(namespace, -1)
        admitNext()
      }
    },
  }
}
