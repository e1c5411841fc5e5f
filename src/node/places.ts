/** Frees a place. Idempotent. */
export type ReleasePlace = () => void

/**
 * Limits how many tasks run at once, in all and of one namespace. Waiting namespaces are served round-robin, however many
 * tasks another namespace has waiting.
 */
export type Places = {
  /** @throws the signal's reason when it aborts before there is a place */
  enter(namespace: string, signal?: AbortSignal): Promise<ReleasePlace>
  /** Runs the task in a place. */
  run<T>(namespace: string, task: () => Promise<T>): Promise<T>
}

export function createPlaces({ atOnce, ofOne }: { atOnce: number; ofOne: number }): Places {
  /** In the order in which namespaces are served. */
  const waiting = new Map<string, (() => void)[]>()
  const running = new Map<string, number>()
  let total = 0

  function hasPlace(namespace: string): boolean {
    return total < atOnce && (running.get(namespace) ?? 0) < ofOne
  }

  function take(namespace: string): ReleasePlace {
    total += 1
    running.set(namespace, (running.get(namespace) ?? 0) + 1)
    let isTaken = true
    return () => {
      if (!isTaken) return
      isTaken = false
      total -= 1
      const left = (running.get(namespace) ?? 1) - 1
      if (left > 0) running.set(namespace, left)
      else running.delete(namespace)
      callNext()
    }
  }

  function callNext(): void {
    for (const [namespace, queue] of waiting) {
      if (total >= atOnce) return
      const next = hasPlace(namespace) ? queue.shift() : undefined
      if (next === undefined) continue
      // To the end of the line of namespaces, which this loop reaches again while there are places.
      waiting.delete(namespace)
      if (queue.length > 0) waiting.set(namespace, queue)
      next()
    }
  }

  function wait(namespace: string, signal: AbortSignal | undefined): Promise<ReleasePlace> {
    return new Promise((resolve, reject) => {
      const queue = waiting.get(namespace) ?? []
      waiting.set(namespace, queue)
      const start = () => {
        signal?.removeEventListener('abort', onAbort)
        const release = take(namespace)
        // In a later turn of the event loop: a thousand volumes that change together must not hold it.
        setImmediate(() => resolve(release))
      }
      const onAbort = () => {
        const at = queue.indexOf(start)
        if (at >= 0) queue.splice(at, 1)
        if (queue.length === 0 && waiting.get(namespace) === queue) waiting.delete(namespace)
        reject(signal?.reason)
      }
      queue.push(start)
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  async function enter(namespace: string, signal?: AbortSignal): Promise<ReleasePlace> {
    signal?.throwIfAborted()
    return hasPlace(namespace) ? take(namespace) : wait(namespace, signal)
  }

  return {
    enter,
    async run(namespace, task) {
      const release = await enter(namespace)
      try {
        return await task()
      } finally {
        release()
      }
    },
  }
}
