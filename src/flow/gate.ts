/**
 * Lets at most `limit` tasks run at once, each starting on a fresh turn of the event loop: a thousand volumes that
 * change at the same moment must not hold the loop while health checks and kubelet wait.
 */
export type Gate = <T>(task: () => Promise<T>) => Promise<T>

export function createGate(limit: number): Gate {
  const waiting: (() => void)[] = []
  let running = 0

  async function enter(): Promise<void> {
    if (running < limit) {
      running += 1
      return
    }
    // The place is handed over, not freed: `running` stays as it is.
    await new Promise<void>((resolve) => waiting.push(resolve))
  }

  function leave(): void {
    const next = waiting.shift()
    if (next === undefined) {
      running -= 1
      return
    }
    setImmediate(next)
  }

  return async (task) => {
    await enter()
    try {
      return await task()
    } finally {
      leave()
    }
  }
}
