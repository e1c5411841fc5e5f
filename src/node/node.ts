import { createFairQueue } from '../core/fair-queue.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { ImportSource } from '../core/ports/imports.ts'
import type { Notifier, References, SecretSync, TokenSource } from '../core/ports/kubernetes.ts'
import type { Issuer, LeaseStore } from '../core/ports/leases.ts'
import type { Log } from '../core/ports/log.ts'
import type { Meter } from '../core/ports/metrics.ts'
import type { NodeFlow } from '../core/ports/node.ts'
import type { Sandbox } from '../core/ports/sandbox.ts'
import type { SecretStore } from '../core/ports/vault.ts'
import type { LedgerStore, Mounter, VolumeFiles, VolumeStats } from '../core/ports/volume.ts'
import type { Config } from '../core/settings/config.ts'
import { type Budget, createBudget } from './budget.ts'
import { createNodeFlow } from './calls.ts'
import { createCollecting } from './collect.ts'
import { createDelivery } from './deliver.ts'
import { createFirstFiles } from './first-files.ts'
import { createImportUsers } from './import-users.ts'
import { createQueue } from './keyed-queue.ts'
import { createWeighing } from './large-imports.ts'
import { createLeasedPaths } from './leases/leased-paths.ts'
import { createLeases } from './leases/leases.ts'
import { createSafekeeping } from './leases/persistence.ts'
import { createRevocations } from './leases/revocations.ts'
import { createRetiring } from './leases/scheduled-revocations.ts'
import { createLogins } from './logins.ts'
import { createPlanning } from './plan.ts'
import { createPublish } from './publish.ts'
import { createLookups } from './read-cache.ts'
import { createRotation } from './refresh.ts'
import { createRelease } from './release.ts'
import { resumeVolumes } from './resume.ts'
import { createRoom } from './tmpfs-size.ts'
import { createFarewell, createUnpublish } from './unpublish.ts'
import { createVolumes, type Volumes } from './volumes.ts'

/** Volumes written at the same time. Their writes are synchronous; what overlaps is the grace of a live change. */
const WRITES = { total: 64, perNamespace: 32 }

export type FlowDeps = {
  settings: Config
  clock: Clock
  /** From 0 to under 1. */
  random: () => number
  log: Log
  meter: Meter
  notifier: Notifier
  imports: ImportSource
  store: SecretStore
  issuer: Issuer
  safe: LeaseStore
  secretSync: SecretSync
  tokenSource: TokenSource
  references: References
  mounter: Mounter
  files: VolumeFiles
  ledger: LedgerStore
  statsOf: (targetPath: string) => VolumeStats
  sandbox: Pick<Sandbox, 'render'>
}

export type Flow = NodeFlow & {
  volumes: Pick<Volumes, 'countByState' | 'countIssued' | 'oldestSyncSeconds'>
  /** Bytes that volumes may hold. */
  budget: Pick<Budget, 'reservedBytes' | 'limitBytes'>
  /** Takes up what an earlier process left mounted; before the first RPC. */
  resume(): Promise<void>
  /** No new work, no more looks; resolves when what was under way has ended. Unmounts nothing. */
  stop(): Promise<void>
}

/** Puts the parts of the flow together. */
export function createFlow(deps: FlowDeps): Flow {
  const { clock, random, store, imports } = deps
  const volumes = createVolumes()
  const queue = createQueue()
  const writes = createFairQueue(WRITES)
  const weighing = createWeighing(deps)
  const budget = createBudget(deps.settings)
  const room = createRoom({ ...deps, budget })
  const importUsers = createImportUsers({ imports })
  /** Target paths where a first publish failed and its mount could not be removed. */
  const incomplete = new Set<string>()
  const lookups = createLookups({ store, clock, random })
  const release = createRelease({ store, lookups, volumes, clock })
  const logins = createLogins({ ...deps, volumes })
  const leasedPaths = createLeasedPaths()
  const revocations = createRevocations(deps)
  const safekeeping = createSafekeeping({ ...deps, volumes })
  const retiring = createRetiring({ ...deps, revocations, safekeeping, volumes })
  const leases = createLeases({ ...deps, retiring, safekeeping })
  const planning = createPlanning({ ...deps, leasedPaths })
  const collecting = createCollecting({ ...deps, planning, logins, leases, leasedPaths, lookups })
  const mine = { ...deps, release, lookups, volumes, queue, writes, weighing, budget, room, importUsers }
  const farewell = createFarewell({ ...mine, incomplete, leasedPaths })
  const shared = { ...mine, farewell, incomplete, leases, leasedPaths }
  const delivery = createDelivery({ ...shared, planning, collecting })
  const defaultIntervalMs = deps.settings.rotationIntervalMs
  const rotation = createRotation({ ...shared, delivery, defaultIntervalMs })
  const firstFiles = createFirstFiles({ ...shared, delivery })
  const publish = createPublish({ ...shared, delivery, firstFiles, rotation })
  const unpublish = createUnpublish({ ...shared, rotation })
  const nodeFlow = createNodeFlow({ ...shared, publish, unpublish })

  imports.onChange((namespace, name) => rotation.wake(volumes.ofImport(namespace, name)))

  return {
    ...nodeFlow,
    volumes,
    budget,
    resume: () => resumeVolumes({ ...shared, rotation }),
    async stop() {
      rotation.stop()
      await nodeFlow.stop()
      revocations.stop()
    },
  }
}
