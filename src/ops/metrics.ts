import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Meter } from '../core/ports/metrics.ts'
import { addProcessMetrics } from './process-metrics.ts'

/** The state of the mounted volumes, read at each scrape. */
export type VolumesNow = {
  /** Number of volumes in each state. */
  byState: Readonly<Record<string, number>>
  /** Seconds since the oldest last sync of a volume with Vault; 0 without volumes. */
  oldestSyncAgeSeconds: number
  /** Number of leases of volumes in each state. */
  leases: Readonly<Record<string, number>>
  /** Sum of the volumes' sizes, and its limit. */
  reservedBytes: number
  limitBytes: number
}

export type Metrics = {
  meter: Meter
  /** Sets the source of VolumesNow. */
  setVolumes(read: () => VolumesNow): void
  /** The page that Prometheus scrapes. */
  render(): Promise<{ contentType: string; body: string }>
}

/** kubelet gives up after 2 min; repeated publishes take milliseconds. */
const PUBLISH_SECONDS = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120]
const CALL_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

/**
 * The plugin's metrics, all named here. Labels are few and have few values: operations, results and faults, never
 * names of pods, imports or paths. A histogram's `_count` by result is the number of calls.
 */
export function createMetrics(build: { version: string }): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const publish = histogram(
    'publish_duration_seconds',
    'Duration of NodePublishVolume calls in seconds, by result.',
    ['result'],
    PUBLISH_SECONDS,
  )
  const unpublish = histogram(
    'unpublish_duration_seconds',
    'Duration of NodeUnpublishVolume calls in seconds, by result.',
    ['result'],
    PUBLISH_SECONDS,
  )
  const calls = histogram(
    'vault_call_duration_seconds',
    'Duration of calls to Vault in seconds, by operation and result.',
    ['operation', 'result'],
    CALL_SECONDS,
  )
  const refreshes = counter('refreshes_total', 'Refreshes of mounted volumes, by result and fault.', [
    'result',
    'fault',
  ])
  const logins = counter('logins_total', 'Logins to Vault, by auth method and result.', ['method', 'result'])
  let volumesNow = (): VolumesNow => ({
    byState: {},
    oldestSyncAgeSeconds: 0,
    leases: {},
    reservedBytes: 0,
    limitBytes: 0,
  })

  new Gauge({
    name: 'vault_files_volumes',
    help: 'Mounted volumes, by state.',
    labelNames: ['state'],
    registers,
    collect() {
      this.reset()
      for (const [state, count] of Object.entries(volumesNow().byState)) this.set({ state }, count)
    },
  })
  new Gauge({
    name: 'vault_files_oldest_sync_age_seconds',
    help: 'Seconds since the volume with the oldest sync was last in sync with Vault.',
    registers,
    collect() {
      this.set(volumesNow().oldestSyncAgeSeconds)
    },
  })
  new Gauge({
    name: 'vault_files_leases',
    help: 'Leases of mounted volumes, by state.',
    labelNames: ['state'],
    registers,
    collect() {
      this.reset()
      for (const [state, count] of Object.entries(volumesNow().leases)) this.set({ state }, count)
    },
  })
  new Gauge({
    name: 'vault_files_volume_reserved_bytes',
    help: 'Sum of the sizes of all volumes on this node, in bytes.',
    registers,
    collect() {
      this.set(volumesNow().reservedBytes)
    },
  })
  new Gauge({
    name: 'vault_files_volume_limit_bytes',
    help: 'Limit on the sum of the sizes of all volumes on this node (--max-node-bytes), in bytes.',
    registers,
    collect() {
      this.set(volumesNow().limitBytes)
    },
  })
  new Gauge({
    name: 'vault_files_build_info',
    help: 'Always 1, with the versions of the plugin and of Node.js as labels.',
    labelNames: ['version', 'node_version'],
    registers,
  }).set({ version: build.version, node_version: process.version }, 1)
  addProcessMetrics(registry)
  // Series that exist from the start make a first increase visible to rate().
  for (const result of ['unchanged', 'changed']) refreshes.inc({ result, fault: '' }, 0)
  publish.zero({ result: 'ok' })
  unpublish.zero({ result: 'ok' })

  function histogram<L extends string>(
    name: string,
    help: string,
    labelNames: L[],
    buckets: number[],
  ): Histogram<L> {
    return new Histogram({ name: `vault_files_${name}`, help, labelNames, buckets, registers })
  }

  function counter<L extends string>(name: string, help: string, labelNames: L[]): Counter<L> {
    return new Counter({ name: `vault_files_${name}`, help, labelNames, registers })
  }

  return {
    meter: {
      published: (result, seconds) => publish.observe({ result }, seconds),
      unpublished: (result, seconds) => unpublish.observe({ result }, seconds),
      refreshed: (result, fault) => refreshes.inc({ result, fault }),
      vaultCall: (operation, result, seconds) => calls.observe({ operation, result }, seconds),
      login: (method, result) => logins.inc({ method, result }),
    },
    setVolumes(read) {
      volumesNow = read
    },
    render: async () => ({ contentType: registry.contentType, body: await registry.metrics() }),
  }
}
