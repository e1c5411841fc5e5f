import { FaultError } from '../../src/core/faults/fault.ts'
import type { Json } from '../../src/core/json/types.ts'
import { toValues } from '../../src/core/json/value.ts'
import type { ServiceAccountToken } from '../../src/core/ports/pod.ts'
import type {
  Identity,
  SecretData,
  SecretStore,
  VaultEndpoint,
  VaultLease,
} from '../../src/core/ports/vault.ts'

/** A Vault of maps. `failWith` makes every read fail until it is cleared. */
export class FakeSecretStore implements SecretStore {
  readonly data = new Map<string, Record<string, Json>>()
  readonly reads: string[] = []
  /** By path: reads of these are answered with a lease. */
  readonly leases = new Map<string, VaultLease>()
  /** The tokens of each read. */
  readonly tokensUsed: string[][] = []
  /** Keys of identities whose token was given up. */
  readonly discarded: string[] = []
  /** PEM that verifies endpoints without a CA of their own. */
  defaultCa: string | undefined
  readonly users = new Map<string, Set<string>>()
  readonly revoked: string[] = []
  failWith: FaultError | undefined
  /** Awaited by every read: lets a test hold Vault's answers back. */
  held: Promise<void> = Promise.resolve()

  async read(
    identity: Identity,
    path: string,
    tokens: readonly ServiceAccountToken[],
    signal: AbortSignal,
  ): Promise<SecretData> {
    this.reads.push(path)
    this.tokensUsed.push(tokens.map(({ token }) => token.reveal()))
    await this.held
    signal.throwIfAborted()
    if (tokens.length === 0) throw new FaultError('token_missing', { reason: 'no service-account token' })
    if (this.failWith) throw this.failWith
    const values = this.data.get(path)
    if (values === undefined) throw new FaultError('path_not_found', { path, role: identity.role })
    const lease = this.leases.get(path)
    return {
      values: toValues(values),
      version: undefined,
      ...(lease === undefined ? {} : { lease }),
    }
  }

  async discardToken(identity: Identity): Promise<void> {
    this.discarded.push(identity.key)
  }

  authority({ caCert }: VaultEndpoint): string | undefined {
    return caCert ?? this.defaultCa
  }

  acquire(identity: Identity, volumeId: string): void {
    const users = this.users.get(identity.key) ?? new Set()
    this.users.set(identity.key, users.add(volumeId))
  }

  async release(identityKey: string, volumeId: string): Promise<void> {
    const users = this.users.get(identityKey)
    if (!users?.delete(volumeId) || users.size > 0) return
    this.users.delete(identityKey)
    this.revoked.push(identityKey)
  }

  async close(): Promise<void> {}
}
