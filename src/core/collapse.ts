/** Concurrent calls with the same key share one task. */
export type Collapse<T> = {
  /**
   * Joins the running task for `key`, or starts it. Each caller waits with its own signal; the task's signal aborts only
   * when the last caller has left.
   * @throws the task's error, or the reason of the caller's signal
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
          // A task that is about to be aborted must not be joined.
          if (running.get(key) === entry) running.delete(key)
          // An abort captures a stack trace; after the task has settled that would be wasted, thousands of times a minute.
          if (!entry.isSettled) entry.abort.abort()
        }
      }
    },
  }
}

/** Settles with the promise, or rejects with the signal's reason if that comes first. Does not cancel the promise. */
export function waitFor<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    if (signal.aborted) return onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
