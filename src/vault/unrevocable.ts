import { FaultError } from '../core/faults/fault.ts'
import type { Log } from '../core/ports/log.ts'
import type { Identity } from '../core/ports/vault.ts'
import { factsOf } from './facts.ts'

/** Tells, once for each role, that its tokens cannot be used to revoke, and which policy lets them. */
export type Unrevocable = {
  /** @param path what the policies lack */
  tell(identity: Identity, accessor: string, path: 'auth/token/revoke-self' | 'sys/leases/revoke'): void
}

/** Roles remembered; with more than these it is told again. */
const MOST_ROLES = 1_000

export function createUnrevocable(log: Log): Unrevocable {
  const told = new Set<string>()
  return {
    tell(identity, accessor, path) {
      const { endpoint, authMount, role } = identity
      const key = [endpoint.address, endpoint.namespace, authMount, role, path].join('|')
      if (told.has(key)) return
      if (told.size >= MOST_ROLES) told.clear()
      told.add(key)
      const error = new FaultError('read_denied', { ...factsOf(identity), path, capability: 'update' })
      log.warn(
        { identity: identity.key, accessor, error },
        'vault does not let tokens of this role revoke: they end, and what was issued with them, by TTL only',
      )
    },
  }
}
