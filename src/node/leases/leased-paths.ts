import type { Call } from '../../core/imports/calls.ts'
import type { Identity } from '../../core/ports/vault.ts'
import { putBounded } from '../bounded.ts'

/** Of one namespace; four imports may read no more paths together. */
const MOST_PATHS = 512

/**
 * Paths that gave a lease when they were read, as `database/creds/…` does: nobody can tell by the path, and whoever
 * reads it is given something of his own. Each namespace learns for itself, so that none can have another's forgotten.
 */
export type LeasedPaths = {
  has(identity: Identity, call: Call): boolean
  /** @returns whether this lease is news, and nobody else takes it back */
  add(identity: Identity, key: string, leaseId?: string): boolean
  /** No volume of the namespace is left. */
  forget(namespace: string): void
}

export function createLeasedPaths(): LeasedPaths {
  /** By namespace, then by place: the lease that was seen last. */
  const known = new Map<string, Map<string, string>>()
  const place = ({ endpoint: { address, namespace } }: Identity, key: string) =>
    `${address}|${namespace}|${key}`
  return {
    has: (identity, call) => known.get(identity.podNamespace)?.has(place(identity, call.key)) ?? false,
    add(identity, key, leaseId = '') {
      const ofNamespace = known.get(identity.podNamespace) ?? new Map<string, string>()
      known.set(identity.podNamespace, ofNamespace)
      const at = place(identity, key)
      const isNews = ofNamespace.get(at) !== leaseId
      putBounded(ofNamespace, at, leaseId, MOST_PATHS)
      return isNews
    },
    forget: (namespace) => void known.delete(namespace),
  }
}
