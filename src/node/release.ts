import type { Clock } from '../core/ports/clock.ts'
import type { SecretStore } from '../core/ports/vault.ts'
import { waitAtMost } from './patience.ts'
import type { Lookups } from './read-cache.ts'
import type { Volumes } from './volumes.ts'

/** Long enough for a healthy Vault to revoke a token, short enough for a pod's deletion to wait for it. */
const REVOKE_TIMEOUT_MS = 3_000

/** A volume stops using an identity. Ends within some seconds whatever Vault does, never throws. */
export type Release = (identityKey: string, volumeId: string) => Promise<void>

export function createRelease(deps: {
  store: Pick<SecretStore, 'release'>
  lookups: Lookups
  volumes: Volumes
  clock: Pick<Clock, 'after'>
}): Release {
  const { store, lookups, volumes, clock } = deps
  return async (identityKey, volumeId) => {
    // A signal of its own: the request that ended may be the one that was aborted.
    await waitAtMost(clock, REVOKE_TIMEOUT_MS, (signal) => store.release(identityKey, volumeId, signal))
    const [other] = volumes.ofIdentity(identityKey)
    if (other === undefined) lookups.forget(identityKey)
  }
}
