/**
 * Runs tasks of one key one after the other and tasks of different keys side by side:
 * two operations on one volume never interleave.
 */
export type KeyedQueue = {
  /** Resolves or rejects as `task` does. */
  run<T>(key: string, task: () => Promise<T>): Promise<T>
  /** Resolves when all tasks that were waiting or running at the time of the call have ended. */
  idle(): Promise<void>
}

export function createKeyedQueue(): KeyedQueue {
  const tails = new Map<string, Promise<unknown>>()
  return {
    run(key, task) {
      const before = tails.get(key) ?? Promise.resolve()
      const result = before.then(task)
      const tail = result.catch(() => undefined)
      tails.set(key, tail)
      void tail.then(() => {
        if (tails.get(key) === tail) tails.delete(key)
      })
      return result
    },
    async idle() {
      await Promise.all(tails.values())
    },
  }
}
