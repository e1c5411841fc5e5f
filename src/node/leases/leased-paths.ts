import type { Call } from '../../core/imports/calls.ts'
import type { Identity } from '../../core/ports/vault.ts'
import { putBounded } from '../put-bounded.ts'

/** Of one namespace; four imports may read no more paths together. */
const MOST_PATHS = 512

/**
 * Paths that gave a lease when they were read, as `database/creds/…` does: the path does not show it, and each reader
 * gets a lease of its own. Each namespace has a list of its own, so that none can push out another's paths.
 */
export type LeasedPaths = {
  has(identity: Identity, call: Call): boolean
  /** @returns whether this lease is news, and is to be revoked by the caller */
  add(identity: Identity, key: string, leaseId?: string): boolean
  /** No volume of the namespace is left. */
  forget(namespace: string): void
}

export function createLeasedPaths(): LeasedPaths {
  /** By namespace, then by place: the ID of the last lease. */
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
