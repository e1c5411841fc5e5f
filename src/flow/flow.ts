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
import { createCollecting } from './collect.ts'
import { createDelivery } from './deliver.ts'
import { createGate } from './gate.ts'
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
import { createRevocations } from './revocations.ts'
import { createRotation } from './rotate.ts'
import { createSafekeeping } from './safekeeping.ts'
import { createUnpublish } from './unpublish.ts'
import { createVolumes, type Volumes } from './volumes.ts'

/** Volumes written at the same time. Their writes are synchronous; what overlaps is the grace of a live change. */
const WRITES_AT_ONCE = 64

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
  const gate = createGate(WRITES_AT_ONCE)
  const lookups = createLookups({ store, clock, random })
  const release = createRelease({ store, lookups, volumes })
  const logins = createLogins({ ...deps, volumes })
  const leasedPaths = createLeasedPaths()
  const revocations = createRevocations(deps)
  const safekeeping = createSafekeeping({ ...deps, volumes })
  const leases = createLeases({ ...deps, revocations, safekeeping, volumes })
  const planning = createPlanning({ ...deps, leasedPaths })
  const collecting = createCollecting({ ...deps, planning, logins, leases, leasedPaths, lookups })
  const shared = { ...deps, release, lookups, volumes, queue, gate, leases, leasedPaths }
  const delivery = createDelivery({ ...shared, planning, collecting })
  const defaultIntervalMs = deps.settings.rotationIntervalMs
  const rotation = createRotation({ ...shared, delivery, defaultIntervalMs })
  const publish = createPublish({ ...shared, delivery, rotation })
  const unpublish = createUnpublish({ ...shared, rotation })
  const nodeFlow = createNodeFlow({ ...shared, publish, unpublish })

  imports.onChange((namespace, name) => rotation.wake(volumes.ofImport(namespace, name)))

  return {
    ...nodeFlow,
    volumes,
    resume: () => resumeVolumes({ ...shared, rotation }),
    async stop() {
      rotation.stop()
      await nodeFlow.stop()
      revocations.stop()
    },
  }
}
