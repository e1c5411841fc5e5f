const tasks = new Set<() => unknown>()

/**
 * Runs `task` when this process ends, however it ends but by a signal: children and folders must not outlive a test
 * that crashed. One listener for all: Node warns of a leak from the eleventh on.
 * @returns takes the task back
 */
export function atExit(task: () => unknown): () => void {
  if (tasks.size === 0) process.once('exit', runAll)
  tasks.add(task)
  return () => {
    tasks.delete(task)
    if (tasks.size === 0) process.off('exit', runAll)
  }
}

function runAll(): void {
  for (const task of tasks) task()
}
