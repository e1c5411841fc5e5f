/** Equal tasks under way at the same time become one. */
export type Collapse<T> = {
  /**
   * Joins the task under way for `key`, or starts it. Each caller waits with its own signal; the task's own
   * signal aborts only when the last caller has gone.
   * @throws what the task throws, or the caller's signal's reason
   */
  share(key: string, start: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T>
}

type Running<T> = { result: Promise<T>; callers: number; abort: AbortController; isSettled: boolean }

export function createCollapse<T>(): Collapse<T> {
  const running = new Map<string, Running<T>>()

  const begin = (key: string, start: (signal: AbortSignal) => Promise<T>): Running<T> => {
    const abort = new AbortController()
    const entry: Running<T> = { result: start(abort.signal), callers: 0, abort, isSettled: false }
    running.set(key, entry)
    const forget = () => {
      entry.isSettled = true
      if (running.get(key) === entry) running.delete(key)
    }
    entry.result.then(forget, forget)
    return entry
  }

  return {
    share: async (key, start, signal) => {
      signal.throwIfAborted()
      const entry = running.get(key) ?? begin(key, start)
      entry.callers += 1
      try {
        return await waitFor(entry.result, signal)
      } finally {
        entry.callers -= 1
        if (entry.callers === 0) {
          // Nobody may join a task that is being given up.
          if (running.get(key) === entry) running.delete(key)
          // An abort makes an error with its stack, thousands of times a minute for nobody.
          if (!entry.isSettled) entry.abort.abort()
        }
      }
    },
  }
}

/** The promise's outcome, or the signal's reason if that comes first; the promise itself goes on. */
export function waitFor<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    if (signal.aborted) return onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
