import type { FaultError } from '../core/errors.ts'
import type { ImportSpec } from '../core/import.ts'
import type { Identity, LedgerEntry, RenderedFile, ServiceAccountToken } from '../core/ports.ts'

/**
 * How a volume stands to Vault.
 * resumed: found at start, files in place, waiting for kubelet's next token.
 */
export type Standing =
  | { state: 'fresh' }
  | { state: 'stale'; since: number; failures: number; error: FaultError }
  | { state: 'resumed' }

/** What the files were last made from: equal again means nothing to do. */
export type Basis = {
  spec: ImportSpec
  /** Digest of Vault's answer by path. */
  digests: ReadonlyMap<string, string>
  /** Why these answers could not become files; undefined when they did. */
  verdict: FaultError | undefined
}

/** One mounted volume of this node. */
export type MountedVolume = {
  readonly entry: LedgerEntry
  /** By audience, from kubelet's latest publish. */
  tokens: ReadonlyMap<string, ServiceAccountToken>
  standing: Standing
  basis: Basis | undefined
  /** Whose Vault token this volume keeps alive. */
  identity: Identity | undefined
  /** When the files were last known to equal Vault's answer, in milliseconds since the Unix epoch. */
  inStepAt: number
  cancelTimer: (() => void) | undefined
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
  /** Volumes of one import. */
  ofImport(namespace: string, name: string): MountedVolume[]
  /** How many volumes are in each state. */
  countByState(): Record<Standing['state'], number>
  /** Seconds since the volume that waits longest was last in step; 0 without volumes. */
  oldestStepSeconds(now: number): number
}

export function createVolumes(): Volumes {
  const byTarget = new Map<string, MountedVolume>()
  return {
    get: (targetPath) => byTarget.get(targetPath),
    set: (volume) => void byTarget.set(volume.entry.targetPath, volume),
    delete: (targetPath) => void byTarget.delete(targetPath),
    all: () => byTarget.values(),
    ofImport: (namespace, name) =>
      [...byTarget.values()].filter(
        ({ entry }) => entry.pod.namespace === namespace && entry.importName === name,
      ),
    countByState() {
      const counts = { fresh: 0, stale: 0, resumed: 0 }
      for (const { standing } of byTarget.values()) counts[standing.state] += 1
      return counts
    },
    oldestStepSeconds(now) {
      let oldest = now
      for (const { inStepAt } of byTarget.values()) oldest = Math.min(oldest, inStepAt)
      return (now - oldest) / 1000
    },
  }
}
