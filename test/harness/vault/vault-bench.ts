import type { Clock } from '../../../src/core/ports/clock.ts'
import type { Issuer } from '../../../src/core/ports/leases.ts'
import type { ServiceAccountToken } from '../../../src/core/ports/pod.ts'
import type { Identity, SecretStore } from '../../../src/core/ports/vault.ts'
import { SecretText } from '../../../src/core/secret.ts'
import type { DefaultCa } from '../../../src/vault/connections.ts'
import { createLimiter } from '../../../src/vault/limiter.ts'
import { createVault } from '../../../src/vault/vault.ts'
import { FakeLog } from '../../fakes/log.ts'
import { FakeMeter } from '../../fakes/meter.ts'

/** A signal that never aborts. */
export const patient: AbortSignal = new AbortController().signal

export type VaultBench = { store: SecretStore; issuer: Issuer; log: FakeLog; meter: FakeMeter }

/** The real store and issuer with a fake log and meter. */
export function createVaultBench(
  clock: Clock,
  options: {
    defaultCa?: DefaultCa
    callTimeoutMs?: number
    callsPerSecond?: number
    concurrency?: number
  } = {},
): VaultBench {
  const { defaultCa, callTimeoutMs, callsPerSecond = 1000, concurrency = 16 } = options
  const log = new FakeLog()
  const meter = new FakeMeter()
  const limiter = createLimiter({ clock, callsPerSecond, concurrency })
  const { store, issuer } = createVault({
    clock,
    log,
    meter,
    limiter,
    defaultCa: defaultCa ?? (() => ({ pem: undefined, source: 'the system CAs' })),
    ...(callTimeoutMs === undefined ? {} : { callTimeoutMs }),
  })
  return { store, issuer, log, meter }
}

/** A pod's identity as tests need it; `more` may change anything. */
export function testIdentity(address: string, more: Partial<Identity> = {}): Identity {
  const identity = {
    endpoint: { address, namespace: '', caCert: undefined, skipTLSVerify: false, tlsServerName: undefined },
    method: 'jwt' as const,
    authMount: 'jwt',
    role: 'app',
    roleId: undefined,
    audience: 'vault',
    podNamespace: 'shop',
    serviceAccount: 'backend',
    ...more,
  }
  const { endpoint, method, authMount, role, podNamespace, serviceAccount, audience } = identity
  const key = [
    endpoint.address,
    endpoint.namespace,
    method,
    authMount,
    role,
    podNamespace,
    serviceAccount,
    audience,
  ].join('|')
  return { key, ...identity }
}

export function testToken(text: string, expiresAt = Date.UTC(2040, 0, 1)): ServiceAccountToken {
  return { token: new SecretText(text), expiresAt }
}
