import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Meter } from '../core/ports/metrics.ts'
import { addProcessMetrics } from './process-metrics.ts'

/** What is mounted right now: read at each scrape. */
export type VolumesNow = {
  /** How many volumes are in each state, such as inSync and stale. */
  byState: Readonly<Record<string, number>>
  /** Seconds since the volume that has been out of step the longest was last in step; 0 without volumes. */
  oldestInStepSeconds: number
  /** Leases of volumes by state: active in their files, or replaced and revoking. */
  issued: Readonly<Record<string, number>>
  /** Bytes that all volumes may hold together, and may hold at most. */
  reservedBytes: number
  limitBytes: number
}

export type Metrics = {
  meter: Meter
  /** From now on `read` tells what is mounted. */
  setVolumes(read: () => VolumesNow): void
  /** The page that Prometheus scrapes. */
  render(): Promise<{ contentType: string; body: string }>
}

/** Kubelet gives up after 2 min, and republishes must cost milliseconds. */
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
    'NodePublishVolume calls by result, in seconds.',
    ['result'],
    PUBLISH_SECONDS,
  )
  const unpublish = histogram(
    'unpublish_duration_seconds',
    'NodeUnpublishVolume calls by result, in seconds.',
    ['result'],
    PUBLISH_SECONDS,
  )
  const calls = histogram(
    'vault_call_duration_seconds',
    'Calls to Vault by operation and result, in seconds.',
    ['operation', 'result'],
    CALL_SECONDS,
  )
  const rotations = counter(
    'rotations_total',
    'Looks at the secrets of a mounted volume, by result and fault.',
    ['result', 'fault'],
  )
  const logins = counter('logins_total', 'Logins to Vault by auth method and result.', ['method', 'result'])
  let volumesNow = (): VolumesNow => ({
    byState: {},
    oldestInStepSeconds: 0,
    issued: {},
    reservedBytes: 0,
    limitBytes: 0,
  })

  new Gauge({
    name: 'vault_files_volumes',
    help: 'Mounted volumes by state.',
    labelNames: ['state'],
    registers,
    collect() {
      this.reset()
      for (const [state, count] of Object.entries(volumesNow().byState)) this.set({ state }, count)
    },
  })
  new Gauge({
    name: 'vault_files_oldest_in_step_seconds',
    help: 'Seconds since the volume that has been out of step with Vault the longest was last in step.',
    registers,
    collect() {
      this.set(volumesNow().oldestInStepSeconds)
    },
  })
  new Gauge({
    name: 'vault_files_issued',
    help: 'Leases, certificates and credentials issued to volumes, by state.',
    labelNames: ['state'],
    registers,
    collect() {
      this.reset()
      for (const [state, count] of Object.entries(volumesNow().issued)) this.set({ state }, count)
    },
  })
  new Gauge({
    name: 'vault_files_volume_reserved_bytes',
    help: 'Bytes that all volumes of this node may hold together.',
    registers,
    collect() {
      this.set(volumesNow().reservedBytes)
    },
  })
  new Gauge({
    name: 'vault_files_volume_limit_bytes',
    help: 'Bytes that all volumes of this node may hold together at most, as --max-node-bytes says.',
    registers,
    collect() {
      this.set(volumesNow().limitBytes)
    },
  })
  new Gauge({
    name: 'vault_files_build_info',
    help: 'Always 1; the labels tell what is running.',
    labelNames: ['version', 'node_version'],
    registers,
  }).set({ version: build.version, node_version: process.version }, 1)
  addProcessMetrics(registry)
  // Series that exist from the start let a first failure show as an increase.
  for (const result of ['unchanged', 'changed']) rotations.inc({ result, fault: '' }, 0)
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
      rotated: (result, fault) => rotations.inc({ result, fault }),
      vaultCall: (operation, result, seconds) => calls.observe({ operation, result }, seconds),
      login: (method, result) => logins.inc({ method, result }),
    },
    setVolumes(read) {
      volumesNow = read
    },
    render: async () => ({ contentType: registry.contentType, body: await registry.metrics() }),
  }
}
