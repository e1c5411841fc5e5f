import { waitFor } from '../core/collapse.ts'
import type { FairQueue } from '../core/fair-queue.ts'
import { FaultError, toFault } from '../core/faults/fault.ts'
import { sizeOf } from '../core/json/value.ts'
import type { Lease } from '../core/ports/leases.ts'
import type { Sandbox } from '../core/ports/sandbox.ts'
import type { RenderedFile, VolumeFiles } from '../core/ports/volume.ts'
import type { Config } from '../core/settings/config.ts'
import { type Fetched, type Fetching, type FetchOptions, isSameInput } from './fetch.ts'
import type { IdentityUsers } from './identity-users.ts'
import { LargeImportFound, type LargeImports } from './large-imports.ts'
import type { Leases } from './leases/leases.ts'
import type { ScheduledRevocations } from './leases/scheduled-revocations.ts'
import { factsOf, type Plan } from './plan.ts'
import type { TmpfsSize } from './tmpfs-size.ts'
import { SMALL_IMPORT_BYTES, type Volume } from './volume.ts'
import type { VolumeSecrets } from './volume-secrets.ts'

/** The leases of one volume stay in memory for as long as it lives, in characters. */
const MOST_LEASED = 128 * 1024

/** The mount that the files go to: a new one in a publish, the volume's own in a refresh. */
export type WriteTarget = {
  /** Runs the write one after the other with other calls for the target path. */
  serialize<T>(write: () => Promise<T>): Promise<T>
  /** Makes room for the files. @throws FaultError */
  prepare(files: readonly RenderedFile[], signal: AbortSignal): void
}

export type Reconciled = {
  /** Names of files that were changed, added or removed. */
  changed: string[]
  /** When the oldest answer was given, by Clock.monotonic(). */
  at: number
  /** Why Kubernetes Secrets could not be made from the files. */
  syncFailure: FaultError | undefined
}

/**
 * Makes a volume match Vault: fetch, render, write. The one way of publish and refresh.
 * A volume that goes meanwhile is not written.
 * @throws FaultError; issued leases that reached no file are revoked then
 */
export type Reconcile = (
  volume: Volume,
  plan: Plan,
  target: WriteTarget,
  options: FetchOptions,
  signal: AbortSignal,
) => Promise<Reconciled>

type Rendered = Fetched &
  (
    | { outcome: 'rendered'; files: readonly RenderedFile[] }
    /** The files are made of the same input. */
    | { outcome: 'unchanged' }
    /** This input cannot become files. */
    | { outcome: 'failed'; fault: FaultError }
  )

export function createReconcile(deps: {
  settings: Pick<Config, 'maxVolumeBytes'>
  fetching: Fetching
  identityUsers: Pick<IdentityUsers, 'use'>
  leases: Pick<Leases, 'activate'>
  scheduledRevocations: Pick<ScheduledRevocations, 'schedule' | 'revokeUnused'>
  sandbox: Pick<Sandbox, 'render'>
  volumeSecrets: VolumeSecrets
  files: Pick<VolumeFiles, 'apply'>
  writes: Pick<FairQueue, 'run'>
  tmpfsSize: Pick<TmpfsSize, 'shrink'>
  largeImports: LargeImports
}): Reconcile {
  const { settings, fetching, identityUsers, leases, scheduledRevocations, sandbox } = deps
  const { volumeSecrets, files, writes, tmpfsSize, largeImports } = deps

  /** Renders other input only: a template takes a second process. */
  async function fetchAndRender(
    volume: Volume,
    plan: Plan,
    options: FetchOptions,
    signal: AbortSignal,
  ): Promise<Rendered> {
    const fetched = await fetching.fetch(plan, volume, options, signal)
    const { lastRender } = volume
    if (!fetched.hasMissing && isSameInput(lastRender, fetched.input)) {
      const fault = lastRender?.fault
      return fault === undefined
        ? { ...fetched, outcome: 'unchanged' }
        : { ...fetched, outcome: 'failed', fault }
    }
    try {
      checkLeased(fetched.leases)
      const shape = { ...volume.shape, sizeBytes: settings.maxVolumeBytes }
      const files = await sandbox.render(fetched.plan.spec, fetched.answers, shape, signal)
      const filesBytes = files.reduce((sum, { content }) => sum + content.byteLength, 0)
      if (filesBytes > SMALL_IMPORT_BYTES && !volume.isLarge) throw new LargeImportFound()
      const sizeBytes = Math.max(fetched.sizeBytes, filesBytes)
      return { ...fetched, sizeBytes, outcome: 'rendered', files }
    } catch (error) {
      await scheduledRevocations.revokeUnused(volume, fetched.issued)
      if (error instanceof LargeImportFound) throw error
      signal.throwIfAborted()
      const fault = toFault(error).with(factsOf(fetched.plan.identity))
      if (!isFinal(fault)) throw fault
      return { ...fetched, issued: [], outcome: 'failed', fault }
    }
  }

  /** Kubelet's deadline ends a publish at once: leases that are issued afterwards are revoked. */
  async function untilAborted(
    volume: Volume,
    rendering: Promise<Rendered>,
    signal: AbortSignal,
  ): Promise<Rendered> {
    try {
      return await waitFor(rendering, signal)
    } catch (error) {
      if (signal.aborted) {
        rendering
          .then(({ issued }) => scheduledRevocations.revokeUnused(volume, issued))
          .catch(() => undefined)
      }
      throw error
    }
  }

  async function write(
    volume: Volume,
    target: WriteTarget,
    rendered: Rendered & { outcome: 'rendered' },
    signal: AbortSignal,
  ): Promise<string[]> {
    const { plan, issued } = rendered
    if (volume.isGone) {
      await scheduledRevocations.revokeUnused(volume, issued)
      return []
    }
    const { changed, added, removed } = await writes.run(volume.entry.pod.namespace, async () => {
      try {
        target.prepare(rendered.files, signal)
      } catch (error) {
        await scheduledRevocations.revokeUnused(volume, issued)
        throw error
      }
      volume.beginWrite()
      // Before any file: killed in between, the next process finds the leases and revokes them.
      leases.activate(volume, issued, plan)
      return files.apply(volume.entry.targetPath, volume.shape, rendered.files)
    })
    volume.finishWrite(rendered.input, rendered.sizeBytes)
    scheduledRevocations.schedule(volume)
    tmpfsSize.shrink(volume, rendered.files)
    return [...changed, ...added, ...removed]
  }

  return (volume, planned, target, options, signal) =>
    largeImports.run(volume, signal, async (inTime) => {
      const rendering = fetchAndRender(volume, planned, options, inTime)
      const rendered = volume.isPublishing ? await untilAborted(volume, rendering, inTime) : await rendering
      const { plan, at } = rendered
      await identityUsers.use(volume, plan.identity)
      if (rendered.outcome === 'failed') {
        volume.failRender(rendered.input, rendered.fault)
        throw rendered.fault
      }
      const isRendered = rendered.outcome === 'rendered'
      // Only the write is serialized: a slow Vault must not hold up an unpublish.
      const changed = isRendered ? await target.serialize(() => write(volume, target, rendered, inTime)) : []
      if (volume.isGone) return { changed, at, syncFailure: undefined }
      const syncing = isRendered
        ? volumeSecrets.sync(volume, { plan, files: rendered.files, at }, inTime)
        : volumeSecrets.syncAgain(volume, at, inTime)
      const syncFailure = await waitFor(syncing, inTime).then(() => undefined, toFault)
      return { changed, at, syncFailure }
    })
}

function checkLeased(leases: readonly Lease[]): void {
  const total = leases.reduce((sum, { data }) => sum + sizeOf(data.values), 0)
  if (total <= MOST_LEASED) return
  const reason = `what is issued for it holds ${total} bytes, the limit is ${MOST_LEASED}`
  throw new FaultError('import_too_large', { reason })
}

/** Whether the same answers would fail again. Work that was ended may have been ended on a node that was busy. */
function isFinal({ fault, facts }: FaultError): boolean {
  return facts.endedBy === undefined && fault !== 'internal' && fault !== 'shutting_down'
}
