import type { IssueRequest } from '../core/imports/calls.ts'
import type { ImportSpec } from '../core/imports/import.ts'
import { perVolumeFiles } from '../core/imports/needs.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { SecretSync, SyncedSecret } from '../core/ports/kubernetes.ts'
import type { LedgerEntry, RenderedFile } from '../core/ports/volume.ts'
import type { Plan } from './plan.ts'
import type { Volume } from './volume.ts'

/** The Kubernetes Secrets of a volume. */
export type VolumeSecrets = {
  /** Makes them from the volume's files. @throws FaultError sync_* */
  sync(
    volume: Volume,
    from: { plan: Plan; files: readonly RenderedFile[]; at: number },
    signal: AbortSignal,
  ): Promise<void>
  /** The files are the same, but a Secret may have been edited or deleted. @throws FaultError sync_* */
  syncAgain(volume: Volume, at: number, signal: AbortSignal): Promise<void>
}

export function createVolumeSecrets(deps: {
  secretSync: SecretSync
  clock: Pick<Clock, 'now' | 'monotonic'>
}): VolumeSecrets {
  const { secretSync, clock } = deps

  /** For other nodes, which have clocks of their own. */
  function wallTime(at: number): number {
    return clock.now() - (clock.monotonic() - at)
  }

  async function set(volume: Volume, secrets: readonly SyncedSecret[], signal: AbortSignal): Promise<void> {
    volume.setSyncedSecrets(secrets)
    if (secrets.length > 0) await secretSync.sync(secrets, signal)
  }

  return {
    sync(volume, { plan, files, at }, signal) {
      const of = { entry: volume.entry, requests: plan.issueRequests, fetchedAt: wallTime(at) }
      return set(volume, syncedSecrets(plan.spec, of, files), signal)
    },
    syncAgain(volume, at, signal) {
      const fetchedAt = wallTime(at)
      const secrets = volume.syncedSecrets.map((secret) => ({ ...secret, fetchedAt }))
      return set(volume, secrets, signal)
    },
  }
}

/** The Kubernetes Secrets that an import makes from these files; an absent file leaves its key out. */
function syncedSecrets(
  spec: ImportSpec,
  of: {
    entry: Pick<LedgerEntry, 'pod' | 'importName'>
    requests: readonly IssueRequest[]
    fetchedAt: number
  },
  files: readonly RenderedFile[],
): SyncedSecret[] {
  const perVolume = perVolumeFiles(
    spec,
    of.requests,
    files.map(({ name }) => name),
  )
  const byName = new Map(files.map(({ name, content }) => [name, content]))
  return spec.secretSync.map(({ name, type, deletionPolicy, data }) => ({
    namespace: spec.namespace,
    name,
    type,
    deletionPolicy,
    importName: of.entry.importName,
    pod: of.entry.pod,
    data: new Map(
      data.flatMap(({ key, file }) => {
        const content = byName.get(file)
        return content === undefined ? [] : [[key, content] as const]
      }),
    ),
    fetchedAt: of.fetchedAt,
    isPerVolume: data.some(({ file }) => perVolume.has(file)),
  }))
}
