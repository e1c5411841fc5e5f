import type { FaultError } from '../core/faults/fault.ts'
import type { IssueRequest } from '../core/imports/calls.ts'
import type { ImportSpec } from '../core/imports/import.ts'
import type { SyncedSecret } from '../core/ports/kubernetes.ts'
import type { Lease } from '../core/ports/leases.ts'
import type { ServiceAccountToken } from '../core/ports/pod.ts'
import type { Identity } from '../core/ports/vault.ts'
import type { LedgerEntry, RenderedFile } from '../core/ports/volume.ts'
import type { Issued } from './leases/issue-pace.ts'
import { SHORTEST_PAUSE_MS } from './leases/lease-times.ts'

/**
 * How a volume stands to Vault.
 * resumed: found at start, files in place, waiting for kubelet's next token.
 */
export type SyncState =
  | { state: 'fresh' }
  /** since: by Clock.monotonic(). */
  | { state: 'stale'; since: number; failures: number; error: FaultError }
  | { state: 'resumed' }

/** What the files were last made from: equal again means nothing to do. */
export type Basis = {
  spec: ImportSpec
  /** Digest of Vault's answer by the call's key; of what is issued to the volume alone, which issue it was. */
  digests: ReadonlyMap<string, string>
  /** Why these answers could not become files; undefined when they did. */
  verdict: FaultError | undefined
}

/** Of a volume found at start, until kubelet publishes it again. What it brings then may be nothing: an AppRole needs no token. */
export const NO_TOKENS_YET: MountedVolume['tokens'] = new Map()

/** One mounted volume of this node. */
export type MountedVolume = {
  readonly entry: LedgerEntry
  /** By audience, from kubelet's latest publish; NOT_BROUGHT before the first. */
  tokens: ReadonlyMap<string, ServiceAccountToken>
  sync: SyncState
  basis: Basis | undefined
  /** Whose Vault token this volume keeps alive; changed by Volumes.identify alone. */
  identity: Identity | undefined
  /** When the files were last known to equal Vault's answer, by Clock.monotonic(). */
  lastSyncedAt: number
  /** When Vault's answers were last written over older ones, by Clock.monotonic(); undefined: never. */
  rewrittenAt: number | undefined
  /** When it was last looked at, by Clock.monotonic(); undefined: never. */
  refreshedAt: number | undefined
  /** Between two looks, whoever asks for them, in milliseconds. */
  pauseMs: number
  /** What it needs in memory while it is read and written is much: see flow/weighing.ts. */
  isHeavy: boolean
  /** What is issued to this volume alone; see flow/leases.ts. */
  holdings: readonly Lease[]
  /** When what was replaced in the files is to be revoked, by the holding's id: by Clock.monotonic(). */
  retireAt: Map<string, number>
  /** By the order's key. */
  readonly issued: Map<string, Issued>
  /** Said in the log already: holdings would not survive a restart. */
  isForgetful: boolean
  /** Kubernetes Secrets that are kept in step with the files as they are now. */
  secrets: readonly SyncedSecret[]
  cancelTimer: (() => void) | undefined
}

/** An import whose answers or files are larger waits for a place of its own kind, in bytes: see flow/weighing.ts. */
export const LIGHT_BYTES = 256 * 1024
/** A volume of such a size was made for an import that is not small. */
const HEAVY_VOLUME_BYTES = 4 * LIGHT_BYTES

/** A volume of which nothing is known but that it is mounted. */
export function openVolume(
  entry: LedgerEntry,
  known: Pick<MountedVolume, 'tokens' | 'lastSyncedAt'> & { holdings?: readonly Lease[] },
): MountedVolume {
  return {
    entry,
    holdings: [],
    ...known,
    sync: { state: 'resumed' },
    basis: undefined,
    identity: undefined,
    rewrittenAt: undefined,
    refreshedAt: undefined,
    pauseMs: SHORTEST_PAUSE_MS,
    isHeavy: entry.sizeBytes > HEAVY_VOLUME_BYTES,
    issued: new Map(),
    retireAt: new Map(),
    isForgetful: false,
    secrets: [],
    cancelTimer: undefined,
  }
}

/** What the volume holds, but for what is issued anew. */
export function heldBy({ holdings }: MountedVolume, replaced: readonly IssueRequest[]): Lease[] {
  return holdings.filter(
    ({ state, request }) => state === 'held' && !replaced.some(({ key }) => key === request.key),
  )
}

/** Names of rendered files, for logs and events. */
export function fileNames(files: readonly RenderedFile[]): string[] {
  return files.map((file) => file.name)
}

/** The volumes of this node by target path. */
export type Volumes = {
  get(targetPath: string): MountedVolume | undefined
  set(volume: MountedVolume): void
  delete(targetPath: string): void
  all(): Iterable<MountedVolume>
  /** From now on the volume keeps this identity's Vault token alive. */
  identify(volume: MountedVolume, identity: Identity): void
  /** Volumes of one identity: asked for at every look, hence not searched for among a thousand. */
  ofIdentity(identityKey: string): Iterable<MountedVolume>
  /** Volumes of one import. */
  ofImport(namespace: string, name: string): MountedVolume[]
  /** How many volumes are in each state. */
  countByState(): Record<SyncState['state'], number>
  /** How many things are issued to volumes, in each state. */
  countIssued(): Record<Lease['state'], number>
  /** Whether a namespace has any. */
  hasAny(namespace: string): boolean
  /**
   * Seconds since the volume that waits longest was last in step; 0 without volumes.
   * @param now by Clock.monotonic()
   */
  oldestSyncSeconds(now: number): number
}

export function createVolumes(): Volumes {
  const byTarget = new Map<string, MountedVolume>()
  const byIdentity = new Map<string, Set<MountedVolume>>()

  function join(volume: MountedVolume): void {
    if (volume.identity === undefined) return
    const { key } = volume.identity
    byIdentity.set(key, (byIdentity.get(key) ?? new Set()).add(volume))
  }

  function leave(volume: MountedVolume): void {
    const key = volume.identity?.key ?? ''
    const others = byIdentity.get(key)
    others?.delete(volume)
    if (others?.size === 0) byIdentity.delete(key)
  }

  return {
    get: (targetPath) => byTarget.get(targetPath),
    set(volume) {
      byTarget.set(volume.entry.targetPath, volume)
      join(volume)
    },
    delete(targetPath) {
      const volume = byTarget.get(targetPath)
      if (volume !== undefined) leave(volume)
      byTarget.delete(targetPath)
    },
    all: () => byTarget.values(),
    identify(volume, identity) {
      leave(volume)
      volume.identity = identity
      // Unpublished while it was being looked at: it must not come back.
      if (byTarget.get(volume.entry.targetPath) === volume) join(volume)
    },
    ofIdentity: (identityKey) => byIdentity.get(identityKey) ?? [],
    ofImport: (namespace, name) =>
      [...byTarget.values()].filter(
        ({ entry }) => entry.pod.namespace === namespace && entry.importName === name,
      ),
    countByState() {
      const counts = { fresh: 0, stale: 0, resumed: 0 }
      for (const { sync } of byTarget.values()) counts[sync.state] += 1
      return counts
    },
    countIssued() {
      const counts = { held: 0, retiring: 0 }
      for (const { holdings } of byTarget.values()) for (const { state } of holdings) counts[state] += 1
      return counts
    },
    hasAny: (namespace) => [...byTarget.values()].some(({ entry }) => entry.pod.namespace === namespace),
    oldestSyncSeconds(now) {
      let oldest = now
      for (const { lastSyncedAt } of byTarget.values()) oldest = Math.min(oldest, lastSyncedAt)
      return (now - oldest) / 1000
    },
  }
}
