/** Calls of which only so many are under way at once, the namespaces in turn: whoever asks for much waits for itself. */
export type Turns = {
  /** @throws what the task throws; the signal's reason when it aborts before the task's turn */
  run<T>(namespace: string, task: () => Promise<T>, signal: AbortSignal): Promise<T>
}

export function createTurns({ atOnce }: { atOnce: number }): Turns {
  /** Those that wait, by namespace; the namespace whose turn is next stands first. */
  const waiting = new Map<string, Set<() => void>>()
  let running = 0

  function admitNext(): void {
    const [next] = waiting
    if (running >= atOnce || next === undefined) return
    const [namespace, queue] = next
    const [admit] = queue
    waiting.delete(namespace)
    if (admit === undefined) return
    queue.delete(admit)
    // Behind all others.
    if (queue.size > 0) waiting.set(namespace, queue)
    running += 1
    admit()
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
        running -= 1
        admitNext()
      }
    },
  }
}
