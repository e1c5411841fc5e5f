import type { Call } from '../core/call.ts'
import type { VaultEndpoint } from '../core/ports.ts'

/**
 * Paths that gave a lease when they were read, as `database/creds/…` does: nobody can tell by the path, and whoever
 * reads it is given something of his own. They are few, and remembered for as long as the process lives.
 */
export type LeasedPaths = {
  has(endpoint: VaultEndpoint, call: Call): boolean
  /** @returns whether this lease is news, and nobody else takes it back */
  add(endpoint: VaultEndpoint, key: string, leaseId?: string): boolean
}

export function createLeasedPaths(): LeasedPaths {
  /** The lease that was seen last, by place. */
  const known = new Map<string, string>()
  const place = ({ address, namespace }: VaultEndpoint, key: string) => `${address}|${namespace}|${key}`
  return {
    has: (endpoint, call) => known.has(place(endpoint, call.key)),
    add(endpoint, key, leaseId = '') {
      const at = place(endpoint, key)
      const isNews = known.get(at) !== leaseId
      known.set(at, leaseId)
      return isNews
    },
  }
}
