import type { Lease } from '../core/ports/leases.ts'
import type { Identity } from '../core/ports/vault.ts'
import type { Volume } from './volume.ts'

/** States of volumes that kubelet knows. */
export type MountedState = 'inSync' | 'stale' | 'resumed'

/** The volumes of this node by target path. */
export type Volumes = {
  get(targetPath: string): Volume | undefined
  add(volume: Volume): void
  /** The volume is gone from now on. */
  delete(volume: Volume): void
  all(): Iterable<Volume>
  /** From now on the volume uses this identity's Vault token. */
  identify(volume: Volume, identity: Identity): void
  /** Indexed, for every refresh asks. */
  ofIdentity(identityKey: string): Iterable<Volume>
  ofImport(namespace: string, name: string): Volume[]
  countByState(): Record<MountedState, number>
  countLeases(): Record<Lease['state'], number>
  hasAny(namespace: string): boolean
  /**
   * Seconds since the volume that has waited the longest was last in sync; 0 without volumes.
   * @param now by Clock.monotonic()
   */
  oldestSyncSeconds(now: number): number
}

export function createVolumes(): Volumes {
  const byTarget = new Map<string, Volume>()
  const byIdentity = new Map<string, Set<Volume>>()

  function addToIndex(volume: Volume): void {
    if (volume.identity === undefined) return
    const { key } = volume.identity
    byIdentity.set(key, (byIdentity.get(key) ?? new Set()).add(volume))
  }

  function removeFromIndex(volume: Volume): void {
    const key = volume.identity?.key ?? ''
    const others = byIdentity.get(key)
    others?.delete(volume)
    if (others?.size === 0) byIdentity.delete(key)
  }

  return {
    get: (targetPath) => byTarget.get(targetPath),
    add(volume) {
      byTarget.set(volume.entry.targetPath, volume)
      addToIndex(volume)
    },
    delete(volume) {
      volume.markGone()
      removeFromIndex(volume)
      byTarget.delete(volume.entry.targetPath)
    },
    all: () => byTarget.values(),
    identify(volume, identity) {
      removeFromIndex(volume)
      volume.setIdentity(identity)
      // Unpublished while it was refreshed: it must not come back.
      if (byTarget.get(volume.entry.targetPath) === volume) addToIndex(volume)
    },
    ofIdentity: (identityKey) => byIdentity.get(identityKey) ?? [],
    ofImport: (namespace, name) =>
      [...byTarget.values()].filter(
        ({ entry }) => entry.pod.namespace === namespace && entry.importName === name,
      ),
    countByState() {
      const counts = { inSync: 0, stale: 0, resumed: 0 }
      for (const { state: of } of byTarget.values()) {
        if (of.state !== 'publishing' && of.state !== 'gone') counts[of.state] += 1
      }
      return counts
    },
    countLeases() {
      const counts = { active: 0, revoking: 0 }
      for (const { leases } of byTarget.values()) for (const { state } of leases.all) counts[state] += 1
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
