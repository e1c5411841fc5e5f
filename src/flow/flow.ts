import type { Config } from '../core/config.ts'
import type { Issuer, Safe } from '../core/issued.ts'
import type { Mounter, VolumeFiles } from '../core/mounted.ts'
import type {
  Clock,
  ImportSource,
  LedgerStore,
  Log,
  Meter,
  NodeFlow,
  Notifier,
  References,
  SecretStore,
  SecretSync,
  TokenSource,
  VolumeStats,
} from '../core/ports.ts'
import type { Sandbox } from '../core/sandbox.ts'
import { type Budget, createBudget } from './budget.ts'
import { createCollecting } from './collect.ts'
import { createDelivery } from './deliver.ts'
import { createFirstFiles } from './first-files.ts'
import { createImportUsers } from './import-users.ts'
import { createLeasedPaths } from './leased-paths.ts'
import { createLeases } from './leases.ts'
import { createLogins } from './logins.ts'
import { createLookups } from './lookups.ts'
import { createNodeFlow } from './node-flow.ts'
import { createPlanning } from './plan.ts'
import { createPublish } from './publish.ts'
import { createQueue } from './queue.ts'
import { createRelease } from './release.ts'
import { resumeVolumes } from './resume.ts'
import { createRetiring } from './retiring.ts'
import { createRevocations } from './revocations.ts'
import { createRoom } from './room.ts'
import { createRotation } from './rotate.ts'
import { createSafekeeping } from './safekeeping.ts'
import { createTurns } from './turns.ts'
import { createFarewell, createUnpublish } from './unpublish.ts'
import { createVolumes, type Volumes } from './volumes.ts'
import { createWeighing } from './weighing.ts'

/** Volumes written at the same time. Their writes are synchronous; what overlaps is the grace of a live change. */
const WRITES = { atOnce: 64, ofOne: 32 }

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
  safe: Safe
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
  volumes: Pick<Volumes, 'countByState' | 'countIssued' | 'oldestStepSeconds'>
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
  const writes = createTurns(WRITES)
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
