import type { Value } from '../json/value.ts'
import type { ServiceAccountToken } from './pod.ts'

/** A client of Vault: the TLS endpoint and the login. Equal keys share one Vault token. */
export type Identity = {
  /** Stable, printable, free of secrets. */
  key: string
  endpoint: VaultEndpoint
  method: 'kubernetes' | 'jwt' | 'approle'
  authMount: string
  role: string
  /** Role ID of the AppRole, with method approle. */
  roleId: string | undefined
  /** Audience of the service-account token used; '' when kubelet's only token is to be used. */
  audience: string
  podNamespace: string
  serviceAccount: string
}

export type VaultEndpoint = {
  address: string
  /** Vault namespace, '' for root. */
  namespace: string
  /** PEM from the import; undefined means the plugin's --vault-ca-cert or the system's. */
  caCert: string | undefined
  skipTLSVerify: boolean
  tlsServerName: string | undefined
}

/** The data of one path, with its keys in the order in which Vault sent them. */
export type SecretData = {
  values: ReadonlyMap<string, Value>
  /** KV v2 version, when the engine gives one. */
  version: number | undefined
  /** Set when Vault leased the data to this token: it must not be shared. */
  lease?: VaultLease
}

/**
 * Shared reads from Vault. Every call collapses with an equal one under way. Calls are queued fairly by pod namespace at
 * each address. A namespace may have MOST_WAITING calls waiting (vault/lane.ts); more fail with rate_limited. The caller
 * bounds how many reads of one import run at once, and how many it may request.
 */
export type SecretStore = {
  /**
   * Reads `path` (full API path without /v1/, with `?version=N` for a version of KV v2) as `identity`, logging in first when there is no usable Vault token.
   * A 403 leads to one fresh login and one more try, unless a new token was refused for this path lately.
   * A service-account token that has expired by our clock is tried when there is no better one: Vault decides.
   * @param tokens service-account tokens that may be used to log in, best first; may be empty when a Vault token is still good
   * @throws FaultError login_*, read_*, path_*, tls, unreachable, sealed, standby, rate_limited, vault_error, token_missing
   */
  read(
    identity: Identity,
    path: string,
    tokens: readonly ServiceAccountToken[],
    signal: AbortSignal,
  ): Promise<SecretData>
  /**
   * Revokes the identity's Vault token, and with it any lease that a read made; the next read logs in again.
   * Best effort, never throws.
   */
  discardToken(identity: Identity, signal: AbortSignal): Promise<void>
  /** The certificate authorities that verify the endpoint; undefined: the system's. */
  authority(endpoint: VaultEndpoint): string | undefined
  /** Counts a volume as a user of the identity's Vault token. Idempotent. */
  acquire(identity: Identity, volumeId: string): void
  /** The volume is gone: with its last user the Vault token is revoked (best effort, never throws). Idempotent. */
  release(identityKey: string, volumeId: string, signal: AbortSignal): Promise<void>
  /** Closes connections. Revokes nothing: the next process of the plugin continues with the volumes. */
  close(): Promise<void>
}

/** A lease of Vault's; it ends with the token of its request at the latest. */
export type VaultLease = {
  id: string
  /** When it was issued or last renewed, by Clock.monotonic(). */
  leasedAt: number
  durationMs: number
  renewable: boolean
}
