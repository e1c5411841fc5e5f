import type { Clock } from '../core/ports/clock.ts'
import type { Identity, SecretStore } from '../core/ports/vault.ts'
import type { ReadCache } from './read-cache.ts'
import type { Volume } from './volume.ts'
import type { Volumes } from './volumes.ts'
import { waitAtMost } from './wait-at-most.ts'

/** Long enough for a healthy Vault to revoke a token, short enough for a pod's deletion to wait for it. */
const REVOKE_TIMEOUT_MS = 3_000

/** Counts the volumes that use an identity's Vault token: with the last one the token is revoked. */
export type IdentityUsers = {
  /**
   * Holds a reference while the task runs, and for longer if the volume is mounted and uses the identity then: after an
   * edit of the import it is another one than the volume's.
   */
  hold<T>(volume: Volume, identity: Identity, task: () => Promise<T>): Promise<T>
  /** From now on the volume uses this identity; releases the former one. */
  use(volume: Volume, identity: Identity): Promise<void>
  /** The volume is gone. Ends within some seconds whatever Vault does, never throws. */
  release(volume: Volume): Promise<void>
}

export function createIdentityUsers(deps: {
  store: Pick<SecretStore, 'acquire' | 'release'>
  readCache: Pick<ReadCache, 'forget'>
  volumes: Pick<Volumes, 'ofIdentity' | 'identify'>
  clock: Pick<Clock, 'after'>
}): IdentityUsers {
  const { store, readCache, volumes, clock } = deps

  async function release({ key }: Identity, { entry: { volumeId } }: Volume): Promise<void> {
    // A signal of its own: the request that ended may be the one that was aborted.
    await waitAtMost(clock, REVOKE_TIMEOUT_MS, (signal) => store.release(key, volumeId, signal))
    const [other] = volumes.ofIdentity(key)
    if (other === undefined) readCache.forget(key)
  }

  function isUsing(volume: Volume, { key }: Identity): boolean {
    return !volume.isGone && volume.identity?.key === key
  }

  return {
    async hold(volume, identity, task) {
      store.acquire(identity, volume.entry.volumeId)
      try {
        return await task()
      } finally {
        if (!isUsing(volume, identity)) await release(identity, volume)
      }
    },
    async use(volume, identity) {
      const before = volume.identity
      volumes.identify(volume, identity)
      if (before !== undefined && before.key !== identity.key) await release(before, volume)
    },
    async release(volume) {
      if (volume.identity !== undefined) await release(volume.identity, volume)
    },
  }
}
