import { FaultError } from '../core/errors.ts'
import type { Identity, Log } from '../core/ports.ts'
import { factsOf } from './facts.ts'

/** Tells, once for each role, that its tokens cannot be revoked by themselves, and which policy lets them. */
export type Unrevocable = { tell(identity: Identity, accessor: string): void }

/** Roles remembered; with more than these it is told again. */
const MOST_ROLES = 1_000

export function createUnrevocable(log: Log): Unrevocable {
  const told = new Set<string>()
  return {
    tell(identity, accessor) {
      const { endpoint, authMount, role } = identity
      const key = [endpoint.address, endpoint.namespace, authMount, role].join('|')
      if (told.has(key)) return
      if (told.size >= MOST_ROLES) told.clear()
      told.add(key)
      const path = 'auth/token/revoke-self'
      const error = new FaultError('read_denied', { ...factsOf(identity), path, capability: 'update' })
      log.warn(
        { identity: identity.key, accessor, error },
        'vault token cannot be revoked and ends by its TTL only, as all of this role',
      )
    },
  }
}
