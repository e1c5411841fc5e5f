import type { Clock } from '../core/ports/clock.ts'

/**
 * Waits for a task at most `limitMs`: then its signal aborts, and the caller goes on, even if the task does not end.
 * @returns whether the task ended in time, however it ended
 */
export async function waitAtMost(
  clock: Pick<Clock, 'after'>,
  limitMs: number,
  task: (signal: AbortSignal) => Promise<unknown>,
): Promise<boolean> {
  const late = new AbortController()
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const cancel = clock.after(limitMs, () => {
    late.abort(new Error('no answer in time'))
    resolve(false)
  })
  const ended = () => resolve(true)
  task(late.signal).then(ended, ended)
  return promise.finally(cancel)
}
