// The program of a sandbox process. It runs one task after the other; the plugin kills it when one exceeds its budget.
import type { Report, Task, WarmUp } from './messages.ts'
import { plainFault, prepare, warmUp } from './tasks.ts'

function send(report: Report): void {
  process.send?.(report)
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

async function perform(task: Task): Promise<void> {
  try {
    const work = await prepare(task, (what) => send({ kind: 'step', what }))
    send({ kind: 'begun', cpuMs: cpuMs() })
    const result = work()
    send({ kind: 'done', result, rssBytes: process.memoryUsage.rss() })
  } catch (error) {
    send({ kind: 'failed', fault: plainFault(error), rssBytes: process.memoryUsage.rss() })
  }
}

process.on('message', (task: Task | WarmUp) => void (task.kind === 'warm-up' ? warmUp() : perform(task)))
// The plugin has ended.
process.on('disconnect', () => process.exit(0))
