import type { ParseResponse } from '../core/json/vault-response.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Issuer } from '../core/ports/leases.ts'
import type { Log } from '../core/ports/log.ts'
import type { Meter } from '../core/ports/metrics.ts'
import type { SecretStore } from '../core/ports/vault.ts'
import { createConnections, type DefaultCa } from './connections.ts'
import { createIssuer } from './issuer.ts'
import type { Limiter } from './limiter.ts'
import { createLogin } from './login.ts'
import { createRenewal } from './renewal.ts'
import { createSecretStore } from './store.ts'
import { createTokenRevocations } from './token-revocations.ts'
import { createTokens } from './tokens.ts'

/** Vault or OpenBao: shared reads, and leases of single volumes. */
export type Vault = { store: SecretStore; issuer: Issuer }

/**
 * Builds one stack for both: connections, login and renewal of tokens, requests. `store.close()` closes the connections.
 * @param deps.defaultCa authority for imports without a caCert, read at each call
 */
export function createVault(deps: {
  clock: Clock
  meter: Meter
  log: Log
  limiter: Limiter
  defaultCa: DefaultCa
  /** Milliseconds a call to Vault may take; default 15,000. */
  callTimeoutMs?: number
  /** For large responses; default: parsed on the spot. */
  parseAnswer?: ParseResponse
}): Vault {
  const connections = createConnections(deps)
  const login = createLogin({ ...deps, connections })
  const renewal = createRenewal({ ...deps, connections })
  const revocations = createTokenRevocations({ ...deps, renewal })
  const tokens = createTokens({ ...deps, login, renewal, revocations })
  return {
    store: createSecretStore({ ...deps, connections, tokens, revocations }),
    issuer: createIssuer({ ...deps, connections, login, renewal }),
  }
}
