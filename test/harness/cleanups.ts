export type Cleanups = {
  /** For the end of the demo, whichever it is. */
  add(task: () => Promise<unknown> | unknown): void
  /** Once, however often it is called: an interruption must wait for what a failure has begun to clean up. Never rejects. */
  run(): Promise<void>
}

/** @param onFailure called for each task that fails; the others run all the same */
export function createCleanups(onFailure: (error: Error) => void): Cleanups {
  const tasks: (() => Promise<unknown> | unknown)[] = []
  let running: Promise<void> | undefined

  /** In reverse order. */
  async function runAll(): Promise<void> {
    for (let task = tasks.pop(); task !== undefined; task = tasks.pop()) {
      try {
        await task()
      } catch (error) {
        onFailure(error as Error)
      }
    }
  }

  return {
    add: (task) => void tasks.push(task),
    run() {
      running ??= runAll()
      return running
    },
  }
}
