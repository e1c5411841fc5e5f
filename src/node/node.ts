import { createFairQueue } from '../core/fair-queue.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { ImportSource } from '../core/ports/imports.ts'
import type { Notifier, References, SecretSync, TokenSource } from '../core/ports/kubernetes.ts'
import type { Issuer, LeaseStore } from '../core/ports/leases.ts'
import type { Log } from '../core/ports/log.ts'
import type { Meter } from '../core/ports/metrics.ts'
import type { NodeService } from '../core/ports/node.ts'
import type { Sandbox } from '../core/ports/sandbox.ts'
import type { SecretStore } from '../core/ports/vault.ts'
import type { LedgerStore, Mounter, VolumeFiles, VolumeStats } from '../core/ports/volume.ts'
import type { Config } from '../core/settings/config.ts'
import { createAdopt } from './adopt-unrecorded.ts'
import { type Budget, createBudget } from './budget.ts'
import { createNodeCalls } from './calls.ts'
import { createFetching } from './fetch.ts'
import { createIdentityUsers } from './identity-users.ts'
import { createImportUsers } from './import-users.ts'
import { createKeyedQueue } from './keyed-queue.ts'
import { createLargeImports } from './large-imports.ts'
import { createLeasedPaths } from './leases/leased-paths.ts'
import { createLeases } from './leases/leases.ts'
import { createLeasePersistence } from './leases/persistence.ts'
import { createRevocations } from './leases/revocations.ts'
import { createScheduledRevocations } from './leases/scheduled-revocations.ts'
import { createLogins } from './logins.ts'
import { createPlanning } from './plan.ts'
import { createPublish } from './publish.ts'
import { createReadCache } from './read-cache.ts'
import { createReconcile } from './reconcile.ts'
import { createRefresh } from './refresh.ts'
import { createRefreshSchedule } from './refresh-schedule.ts'
import { resumeVolumes } from './resume.ts'
import { createTmpfsSize } from './tmpfs-size.ts'
import { createCleanup, createUnpublish } from './unpublish.ts'
import { createVolumeSecrets } from './volume-secrets.ts'
import { createVolumes, type Volumes } from './volumes.ts'

/** Volumes written at the same time. Their writes are synchronous; only the grace periods of live changes overlap. */
const WRITES = { total: 64, perNamespace: 32 }

export type NodeDeps = {
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
  leaseStore: LeaseStore
  secretSync: SecretSync
  tokenSource: TokenSource
  references: References
  mounter: Mounter
  files: VolumeFiles
  ledger: LedgerStore
  statsOf: (targetPath: string) => VolumeStats
  sandbox: Pick<Sandbox, 'render'>
}

export type Node = NodeService & {
  volumes: Pick<Volumes, 'countByState' | 'countLeases' | 'oldestSyncSeconds'>
  /** Bytes that volumes may hold. */
  budget: Pick<Budget, 'reservedBytes' | 'limitBytes'>
  /** Resumes the volumes that an earlier process left mounted; before the first RPC. */
  resume(): Promise<void>
  /** No new calls or refreshes; resolves when those under way have ended. Unmounts nothing. */
  stop(): Promise<void>
}

/** Puts the parts of the node together. */
export function createNode(deps: NodeDeps): Node {
  const { imports, settings } = deps
  const volumes = createVolumes()
  const queue = createKeyedQueue()
  const writes = createFairQueue(WRITES)
  const largeImports = createLargeImports(deps)
  const budget = createBudget(settings)
  const tmpfsSize = createTmpfsSize({ ...deps, budget })
  const importUsers = createImportUsers({ imports })
  /** Target paths where a first publish failed and its mount could not be removed. */
  const incomplete = new Set<string>()
  const readCache = createReadCache(deps)
  const identityUsers = createIdentityUsers({ ...deps, readCache, volumes })
  const logins = createLogins({ ...deps, volumes })
  const leasedPaths = createLeasedPaths()
  const revocations = createRevocations(deps)
  const persistence = createLeasePersistence(deps)
  const scheduledRevocations = createScheduledRevocations({ ...deps, revocations, persistence })
  const leases = createLeases({ ...deps, scheduledRevocations, persistence })
  const planning = createPlanning({ ...deps, leasedPaths })
  const fetching = createFetching({ ...deps, planning, logins, leases, leasedPaths, readCache })
  const parts = {
    ...{ ...deps, volumes, queue, writes, largeImports, budget, tmpfsSize, importUsers, incomplete },
    ...{
      readCache,
      identityUsers,
      leasedPaths,
      persistence,
      scheduledRevocations,
      leases,
      planning,
      fetching,
    },
    volumeSecrets: createVolumeSecrets(deps),
    defaultIntervalMs: settings.rotationIntervalMs,
  }
  const reconcile = createReconcile(parts)
  const cleanup = createCleanup(parts)
  const refresh = createRefresh({ ...parts, reconcile })
  const refreshSchedule = createRefreshSchedule({ ...parts, refresh })
  const adopt = createAdopt({ ...parts, cleanup })
  const publish = createPublish({ ...parts, reconcile, refreshSchedule, adopt, cleanup })
  const unpublish = createUnpublish({ ...parts, refreshSchedule, cleanup })
  const calls = createNodeCalls({ ...parts, publish, unpublish })

  imports.onChange((namespace, name) => refreshSchedule.wake(volumes.ofImport(namespace, name)))

  return {
    ...calls,
    volumes,
    budget,
    resume: () => resumeVolumes({ ...parts, cleanup, refreshSchedule }),
    async stop() {
      refreshSchedule.stop()
      await calls.stop()
      revocations.stop()
    },
  }
}
