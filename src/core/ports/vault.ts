import type { Value } from '../json/value.ts'
import type { ServiceAccountToken } from './pod.ts'

/** Who is asking Vault: the TLS endpoint and the login. Two equal keys share one Vault token. */
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

/** What one path held. `keys` stand in the order in which Vault sent them. */
export type SecretData = {
  values: ReadonlyMap<string, Value>
  /** KV v2 version, when the engine tells one. */
  version: number | undefined
  /** Set when the answer was made for whoever asked and ends by itself: it must not be shared. */
  lease?: VaultLease
}

/**
 * Vault, as the flow sees it. Every call collapses with an equal one under way. Calls wait for their turn: the namespaces
 * of pods take turns at each address, and one may have MOST_WAITING calls waiting (vault/lane.ts), beyond which it is
 * told rate_limited. How many reads of one import run at once, and how many it may ask for, the flow decides.
 */
export type SecretStore = {
  /**
   * Reads `path` (full API path without /v1/, with `?version=N` for a version of KV v2) as `identity`, logging in first when there is no usable Vault token.
   * A 403 leads to one fresh login and one more try, unless a new token was refused for this path lately.
   * A service-account token that is over by our clock is tried for want of a better one: Vault decides.
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
   * Gives the identity's Vault token up for another: what was leased by a read, which nobody may keep, ends with it.
   * Best effort, never throws.
   */
  discardToken(identity: Identity, signal: AbortSignal): Promise<void>
  /** The certificate authorities that verify the endpoint; undefined: the system's. */
  authority(endpoint: VaultEndpoint): string | undefined
  /** Counts a volume as a user of the identity's Vault token. Idempotent. */
  acquire(identity: Identity, volumeId: string): void
  /** The volume is gone: with its last user the Vault token is revoked (best effort, never throws). Idempotent. */
  release(identityKey: string, volumeId: string, signal: AbortSignal): Promise<void>
  /** Closes connections. Revokes nothing: other processes of ours may go on with the volumes. */
  close(): Promise<void>
}

/** Vault's promise that an answer stays good, which it keeps for as long as the token that asked lives. */
export type VaultLease = {
  id: string
  /** When it was given or renewed last, by Clock.monotonic(). */
  leasedAt: number
  durationMs: number
  renewable: boolean
}
