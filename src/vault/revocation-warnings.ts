import { FaultError } from '../core/faults/fault.ts'
import type { Log } from '../core/ports/log.ts'
import type { Identity } from '../core/ports/vault.ts'
import { identityFacts } from './request.ts'

/** Reports, once for each role, that its tokens may not revoke, and which policy lets them. */
export type RevocationWarnings = {
  /** @param path that the policies lack */
  report(identity: Identity, accessor: string, path: 'auth/token/revoke-self' | 'sys/leases/revoke'): void
}

/** Roles remembered; beyond it a role is reported again. */
const MOST_ROLES = 1_000

export function createRevocationWarnings(log: Log): RevocationWarnings {
  const reported = new Set<string>()
  return {
    report(identity, accessor, path) {
      const { endpoint, authMount, role } = identity
      const key = [endpoint.address, endpoint.namespace, authMount, role, path].join('|')
      if (reported.has(key)) return
      if (reported.size >= MOST_ROLES) reported.clear()
      reported.add(key)
      const error = new FaultError('read_denied', { ...identityFacts(identity), path, capability: 'update' })
      log.warn(
        { identity: identity.key, accessor, error },
        'vault does not let tokens of this role revoke: they end, and what was issued with them, by TTL only',
      )
    },
  }
}
