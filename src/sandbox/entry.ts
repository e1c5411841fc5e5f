// The sandbox process: does one job after the other, and is killed from outside when one takes too long.
import { plainFault, prepare, warm } from './jobs.ts'
import type { Job, Told, Warm } from './messages.ts'

function tell(told: Told): void {
  process.send?.(told)
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

async function perform(job: Job): Promise<void> {
  try {
    const work = await prepare(job, (what) => tell({ kind: 'step', what }))
    tell({ kind: 'begun', cpuMs: cpuMs() })
    const result = work()
    tell({ kind: 'done', result, rssBytes: process.memoryUsage.rss() })
  } catch (error) {
    tell({ kind: 'failed', fault: plainFault(error), rssBytes: process.memoryUsage.rss() })
  }
}

process.on('message', (job: Job | Warm) => void (job.kind === 'warm' ? warm() : perform(job)))
// The plugin is gone.
process.on('disconnect', () => process.exit(0))
