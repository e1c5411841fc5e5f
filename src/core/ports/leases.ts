import type { IssueRequest } from '../imports/calls.ts'
import type { SecretText } from '../secret.ts'
import type { ServiceAccountToken } from './pod.ts'
import type { Identity, SecretData, VaultLease } from './vault.ts'

/** A Vault token that only one lease uses. */
export type LeaseToken = {
  token: SecretText
  accessor: string
  /** When it was given or renewed last, by Clock.monotonic(). */
  leasedAt: number
  /** Infinity for a token that never ends. */
  durationMs: number
  renewable: boolean
  /** A batch token: it cannot be renewed, nor revoked. */
  isBatch: boolean
}

/** Vault's answer to an issue request. */
export type IssueResponse = {
  data: SecretData
  vaultLease: VaultLease | undefined
  /** When it ends whatever is renewed, such as a certificate's notAfter: milliseconds since the Unix epoch. */
  expiresAt: number | undefined
  /** Whether anything ends, or can be revoked, with the token that asked. */
  needsToken: boolean
}

/** Issued by Vault for one volume, and renewed for as long as the volume lives. */
export type Lease = Omit<IssueResponse, 'needsToken'> & {
  /** New for each issue: part of the input that files are rendered from. */
  id: string
  request: IssueRequest
  identity: Identity
  /** undefined: nothing hangs on a token. */
  token: LeaseToken | undefined
  /** In wall time, as expiresAt. */
  issuedAt: number
  /** expiresAt by Clock.monotonic(), as it seemed at issue; a later process does not know it. */
  expiresAtMonotonic?: number
  /** revoking: replaced, or not in any file yet; to be revoked. */
  state: 'active' | 'revoking'
}

/** Vault, for leases. Each hangs on a token of its own. */
export type Issuer = {
  /**
   * A token for one lease.
   * @throws FaultError as SecretStore.read does for logins
   */
  logIn(identity: Identity, tokens: readonly ServiceAccountToken[], signal: AbortSignal): Promise<LeaseToken>
  /** @throws FaultError read_denied, path_not_found, call_refused, credential_refused, tls, unreachable, … */
  issue(
    identity: Identity,
    token: LeaseToken,
    request: IssueRequest,
    signal: AbortSignal,
  ): Promise<IssueResponse>
  /**
   * Token and Vault lease, renewed; undefined when Vault does not renew them, or by too little to be worth it.
   * @throws FaultError when Vault could not be asked
   */
  renew(lease: Lease, signal: AbortSignal): Promise<Pick<Lease, 'token' | 'vaultLease'> | undefined>
  /**
   * Revokes the lease and its token. Every answer is final: asking again would change nothing.
   * @throws FaultError when Vault could not be asked, or cannot do it now: try again
   */
  revoke(lease: Lease, signal: AbortSignal): Promise<Revoked>
}

/**
 * unknown: Vault does not know it any more. not-permitted: Vault does not let the token revoke itself or its lease, which
 * ends by its TTL; the adapter logs it.
 */
export type Revoked = 'revoked' | 'unknown' | 'not-permitted'

/**
 * The leases of volumes, over a restart of ours (each leasedAt in wall time there): sealed in the memory of the volume's
 * tmpfs, where neither a pod nor a disk sees them, under a key that the ledger keeps. They go with the mount.
 */
export type LeaseStore = {
  /** For a new volume. */
  newKey(): string
  /** Replaces the stored leases. False: the node or their size does not allow it, nothing is stored. Never throws. */
  put(targetPath: string, key: string, leases: readonly Lease[]): boolean
  /** undefined: nothing is stored, or it cannot be read. Never throws. */
  get(targetPath: string, key: string): Lease[] | undefined
}
