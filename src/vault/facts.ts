import type { Facts } from '../core/faults/facts.ts'
import type { Identity } from '../core/ports/vault.ts'

/** What an error tells of who asked and where. */
export function factsOf(identity: Identity): Facts {
  const { endpoint, audience } = identity
  return {
    address: endpoint.address,
    ...(endpoint.namespace === '' ? {} : { vaultNamespace: endpoint.namespace }),
    method: identity.method,
    authMount: identity.authMount,
    role: identity.role,
    podNamespace: identity.podNamespace,
    serviceAccount: identity.serviceAccount,
    ...(audience === '' ? {} : { audience }),
  }
}
