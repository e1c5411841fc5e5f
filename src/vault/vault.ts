import type { ParseResponse } from '../core/json/vault-response.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Issuer } from '../core/ports/leases.ts'
import type { Log } from '../core/ports/log.ts'
import type { Meter } from '../core/ports/metrics.ts'
import type { SecretStore } from '../core/ports/vault.ts'
import { createConnections, type DefaultCa } from './connections.ts'
import { createIssuer } from './issuer.ts'
import type { Limiter } from './limiter.ts'
import { createSecretStore } from './store.ts'

/** Vault or OpenBao: what all may read, and what is issued to one. Both over the same connections. */
export type Vault = { store: SecretStore; issuer: Issuer }

/**
 * `store.close()` closes the connections of both.
 * @param deps.defaultCa authority for imports without a caCert, asked at each call
 */
export function createVault(deps: {
  clock: Clock
  meter: Meter
  log: Log
  limiter: Limiter
  defaultCa: DefaultCa
  /** Milliseconds a call to Vault may take; default 15,000. */
  callTimeoutMs?: number
  /** For large answers; default: on the spot. */
  parseAnswer?: ParseResponse
}): Vault {
  const connections = createConnections(deps)
  return {
    store: createSecretStore({ ...deps, connections }),
    issuer: createIssuer({ ...deps, connections }),
  }
}
