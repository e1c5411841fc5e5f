/** Gives a slot back; calling it again has no effect. */
export type Release = () => void

/**
 * A limit on tasks at once, of all namespaces and of each. Waiting namespaces get free slots round-robin, so that one
 * with many tasks delays its own tasks only.
 */
export type FairQueue = {
  /** Waits for a slot. @throws the signal's reason when it aborts before there is one */
  enter(namespace: string, signal?: AbortSignal): Promise<Release>
  /** Runs the task in a slot. @throws what the task throws; as `enter` */
  run<T>(namespace: string, task: () => Promise<T>, signal?: AbortSignal): Promise<T>
}

/** With `perNamespace` below `total`, tasks of one namespace that hang leave slots for others. */
export function createFairQueue({ total, perNamespace }: { total: number; perNamespace: number }): FairQueue {
  /** The next namespace to get a slot comes first. */
  const waiting = new Map<string, Set<() => void>>()
  const running = new Map<string, number>()
  let runningTotal = 0

  function hasSlot(namespace: string): boolean {
    return runningTotal < total && (running.get(namespace) ?? 0) < perNamespace
  }

  function take(namespace: string): Release {
    runningTotal += 1
    running.set(namespace, (running.get(namespace) ?? 0) + 1)
    let isTaken = true
    return () => {
      if (!isTaken) return
      isTaken = false
      runningTotal -= 1
      const left = (running.get(namespace) ?? 1) - 1
      if (left > 0) running.set(namespace, left)
      else running.delete(namespace)
      admitNext()
    }
  }

  function admitNext(): void {
    for (const [namespace, queue] of waiting) {
      if (runningTotal >= total) return
      const [admit] = queue
      if (admit === undefined || !hasSlot(namespace)) continue
      queue.delete(admit)
      // Behind all others; this loop comes to it again while there are slots.
      waiting.delete(namespace)
      if (queue.size > 0) waiting.set(namespace, queue)
      admit()
    }
  }

  function wait(namespace: string, signal: AbortSignal | undefined): Promise<Release> {
    return new Promise((resolve, reject) => {
      const queue = waiting.get(namespace) ?? new Set()
      const admit = () => {
        signal?.removeEventListener('abort', onAbort)
        const release = take(namespace)
        // In a later phase of the event loop: a thousand tasks that become ready together must not block it.
        setImmediate(() => resolve(release))
      }
      const onAbort = () => {
        queue.delete(admit)
        if (queue.size === 0 && waiting.get(namespace) === queue) waiting.delete(namespace)
        reject(signal?.reason)
      }
      waiting.set(namespace, queue.add(admit))
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  async function enter(namespace: string, signal?: AbortSignal): Promise<Release> {
    signal?.throwIfAborted()
    return hasSlot(namespace) ? take(namespace) : wait(namespace, signal)
  }

  return {
    enter,
    async run(namespace, task, signal) {
      const release = await enter(namespace, signal)
      try {
        return await task()
      } finally {
        release()
      }
    },
  }
}
