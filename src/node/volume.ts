import type { FaultError } from '../core/faults/fault.ts'
import type { ImportSpec } from '../core/imports/import.ts'
import type { SyncedSecret } from '../core/ports/kubernetes.ts'
import type { Lease } from '../core/ports/leases.ts'
import type { PublishRequest } from '../core/ports/node.ts'
import type { ServiceAccountToken } from '../core/ports/pod.ts'
import type { Identity } from '../core/ports/vault.ts'
import type { LedgerEntry, VolumeShape } from '../core/ports/volume.ts'
import { LeaseSet } from './leases/lease-set.ts'
import { RefreshTimer } from './refresh-timer.ts'

export type VolumeState =
  /** The first publish is under way: nothing is promised to kubelet yet. */
  | { state: 'publishing' }
  /** The files match the last successful fetch. */
  | { state: 'inSync' }
  /** since: by Clock.monotonic(). */
  | { state: 'stale'; since: number; failures: number; error: FaultError }
  /** Found at start, files in place, not refreshed since. */
  | { state: 'resumed' }
  /** Unpublished, or its first publish failed: a task under way must not bring it back. */
  | { state: 'gone' }

/** awaited: found at start, kubelet has not published it again. An AppRole's pod brings no token: received, but empty. */
export type VolumeTokens =
  | { state: 'awaited' }
  | { state: 'received'; byAudience: ReadonlyMap<string, ServiceAccountToken> }

/** Equal input gives equal files. */
export type RenderInput = {
  spec: ImportSpec
  /** Digest of Vault's answer by the call's key; of a lease, its ID. */
  digests: ReadonlyMap<string, string>
}

export type LastRender = RenderInput & {
  /** Why the answers could not become files; undefined when they did. */
  fault: FaultError | undefined
}

/** An import whose answers or files are larger needs a place: see large-imports.ts. In bytes. */
export const SMALL_IMPORT_BYTES = 256 * 1024
/** A tmpfs of such a size was made for a large import. */
const LARGE_TMPFS_BYTES = 4 * SMALL_IMPORT_BYTES

/** One volume of this node. Only its own methods change it. */
export class Volume {
  #entry: Readonly<LedgerEntry>
  #state: VolumeState
  #tokens: VolumeTokens
  #lastRender: LastRender | undefined
  #identity: Identity | undefined
  #lastSyncedAt: number
  #lastChangedAt: number | undefined
  #isLarge: boolean
  #syncedSecrets: readonly SyncedSecret[] = []
  readonly leases: LeaseSet
  readonly timer = new RefreshTimer()

  private constructor(
    entry: LedgerEntry,
    now: number,
    as: { state: VolumeState; tokens: VolumeTokens; leases?: readonly Lease[] },
  ) {
    this.#entry = entry
    this.#lastSyncedAt = now
    this.#state = as.state
    this.#tokens = as.tokens
    this.#isLarge = entry.sizeBytes > LARGE_TMPFS_BYTES
    this.leases = new LeaseSet(as.leases ?? [])
  }

  /** @param now by Clock.monotonic() */
  static publishing(
    entry: LedgerEntry,
    now: number,
    byAudience: ReadonlyMap<string, ServiceAccountToken>,
  ): Volume {
    return new Volume(entry, now, {
      state: { state: 'publishing' },
      tokens: { state: 'received', byAudience },
    })
  }

  /** A mount with complete files that a publish found. @param now by Clock.monotonic() */
  static adopted(
    entry: LedgerEntry,
    now: number,
    byAudience: ReadonlyMap<string, ServiceAccountToken>,
  ): Volume {
    return new Volume(entry, now, { state: { state: 'resumed' }, tokens: { state: 'received', byAudience } })
  }

  /** A mount with complete files that was found at start. @param now by Clock.monotonic() */
  static resumed(entry: LedgerEntry, now: number, leases: readonly Lease[]): Volume {
    return new Volume(entry, now, { state: { state: 'resumed' }, tokens: { state: 'awaited' }, leases })
  }

  get entry(): Readonly<LedgerEntry> {
    return this.#entry
  }

  get shape(): VolumeShape {
    const { updateMode, fsGroup: gid, sizeBytes } = this.#entry
    return { updateMode, gid, sizeBytes }
  }

  get state(): VolumeState {
    return this.#state
  }

  get tokens(): VolumeTokens {
    return this.#tokens
  }

  /** From kubelet's latest publish; empty before the first. */
  get tokensByAudience(): ReadonlyMap<string, ServiceAccountToken> {
    return this.#tokens.state === 'received' ? this.#tokens.byAudience : new Map()
  }

  /** Undefined while nothing is known about the files. */
  get lastRender(): LastRender | undefined {
    return this.#lastRender
  }

  /** The identity whose Vault token this volume uses. */
  get identity(): Identity | undefined {
    return this.#identity
  }

  /** By Clock.monotonic(). */
  get lastSyncedAt(): number {
    return this.#lastSyncedAt
  }

  /** When a refresh last wrote other contents, by Clock.monotonic(); undefined: never. */
  get lastChangedAt(): number | undefined {
    return this.#lastChangedAt
  }

  /** Needs a place to be fetched and rendered: see large-imports.ts. */
  get isLarge(): boolean {
    return this.#isLarge
  }

  /** Kubernetes Secrets with the content of the files as they are now. */
  get syncedSecrets(): readonly SyncedSecret[] {
    return this.#syncedSecrets
  }

  get isPublishing(): boolean {
    return this.#state.state === 'publishing'
  }

  get isGone(): boolean {
    return this.#state.state === 'gone'
  }

  /** @returns whether the volume could not refresh without them */
  receiveTokens(byAudience: ReadonlyMap<string, ServiceAccountToken>): boolean {
    this.#tokens = { state: 'received', byAudience }
    const now = this.#state
    return now.state === 'resumed' || (now.state === 'stale' && now.error.fault === 'token_missing')
  }

  /** Volumes.identify calls it, which finds volumes by it. */
  setIdentity(identity: Identity): void {
    this.#identity = identity
  }

  /** @param at when the oldest answer was given, by Clock.monotonic() */
  markInSync(at: number): void {
    if (this.isGone) return
    this.#state = { state: 'inSync' }
    this.#lastSyncedAt = at
  }

  /** @returns how many refreshes have failed in a row */
  markStale(error: FaultError, now: number): number {
    const before = this.#state
    const { since, failures } = before.state === 'stale' ? before : { since: now, failures: 0 }
    if (!this.isGone) this.#state = { state: 'stale', since, failures: failures + 1, error }
    return failures + 1
  }

  markGone(): void {
    this.timer.cancel()
    this.#state = { state: 'gone' }
  }

  markComplete(): void {
    this.#entry = { ...this.#entry, phase: 'complete' }
  }

  resize(sizeBytes: number): void {
    this.#entry = { ...this.#entry, sizeBytes }
  }

  setLeaseStoreKey(leaseStoreKey: string): void {
    this.#entry = { ...this.#entry, leaseStoreKey }
  }

  /** Until `finishWrite` nothing is known about the files: a failed write is repeated by the next refresh. */
  beginWrite(): void {
    this.#lastRender = undefined
  }

  finishWrite(input: RenderInput, sizeBytes: number): void {
    this.#lastRender = { ...input, fault: undefined }
    this.#isLarge = sizeBytes > SMALL_IMPORT_BYTES
  }

  /** The files stay as they are; the same input would fail again. */
  failRender(input: RenderInput, fault: FaultError): void {
    this.#lastRender = { ...input, fault }
  }

  markLarge(): void {
    this.#isLarge = true
  }

  /** @param at by Clock.monotonic() */
  noteChange(at: number): void {
    this.#lastChangedAt = at
  }

  setSyncedSecrets(secrets: readonly SyncedSecret[]): void {
    this.#syncedSecrets = secrets
  }
}

/** Of a volume without leases. Field by field: nothing secret of the request may reach the ledger. */
export function ledgerEntry(
  request: PublishRequest,
  rest: Pick<LedgerEntry, 'updateMode' | 'sizeBytes' | 'phase'>,
): LedgerEntry {
  const { volumeId, targetPath, readOnly, fsGroup, pod, importName, fingerprint } = request
  const fields = { volumeId, targetPath, readOnly, fsGroup, pod, importName, fingerprint }
  return { ...fields, ...rest, leaseStoreKey: undefined }
}
