import { readdirSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { Counter, Gauge, type Registry } from 'prom-client'
import { ignoreErrors } from '../core/errno.ts'
import { createUtilization } from './utilization.ts'

/**
 * Resource use of the process, under the usual Prometheus names (process_*, nodejs_*). All values are read when scraped:
 * prom-client's own default set keeps a 10 ms timer running to measure the event loop.
 */
export function addProcessMetrics(registry: Registry): void {
  const registers = [registry]
  gauge('process_resident_memory_bytes', 'Resident memory in bytes.', () => process.memoryUsage.rss())
  gauge('process_start_time_seconds', 'Start of the process in seconds since the Unix epoch.', () =>
    Math.round(performance.timeOrigin / 1000),
  )
  gauge('process_open_fds', 'Open file descriptors.', countDescriptors)
  gauge(
    'nodejs_heap_size_used_bytes',
    'JavaScript heap in use, in bytes.',
    () => process.memoryUsage().heapUsed,
  )
  gauge(
    'nodejs_external_memory_bytes',
    'Memory of buffers and other objects outside the heap, in bytes.',
    () => process.memoryUsage().external,
  )

  gauge(
    'nodejs_eventloop_utilization',
    'Share of the time since the last scrape in which the event loop was busy, 0 to 1.',
    createUtilization(),
  )

  let counted = 0
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'User and system CPU time in seconds.',
    registers,
    collect() {
      const { user, system } = process.cpuUsage()
      const seconds = (user + system) / 1e6
      this.inc(Math.max(0, seconds - counted))
      counted = seconds
    },
  })

  function gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read())
      },
    })
  }
}

/** Linux only, as is the plugin; 0 elsewhere. */
function countDescriptors(): number {
  return ignoreErrors(() => readdirSync('/proc/self/fd').length) ?? 0
}
