import type { IssueRequest } from '../imports/calls.ts'
import type { SecretText } from '../secret.ts'
import type { ServiceAccountToken } from './pod.ts'
import type { Identity, SecretData, VaultLease } from './vault.ts'

/** A Vault token of one volume's own. */
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

/** What Vault answered to an order. */
export type IssueResponse = {
  data: SecretData
  vaultLease: VaultLease | undefined
  /** When it ends whatever is renewed, such as a certificate's notAfter: milliseconds since the Unix epoch. */
  expiresAt: number | undefined
  /** Whether anything ends, or can be taken back, with the token that asked. */
  needsToken: boolean
}

/** Something issued to one volume, kept good for as long as the volume lives. */
export type Lease = Omit<IssueResponse, 'needsToken'> & {
  /** New for each issue: tells whether files were made from it. */
  id: string
  request: IssueRequest
  identity: Identity
  /** undefined: nothing hangs on a token. */
  token: LeaseToken | undefined
  /** In wall time, as endsAt. */
  issuedAt: number
  /** When endsAt seemed to be when it was issued, by Clock.monotonic(); a process that comes after does not know. */
  expiresAtMonotonic?: number
  /** revoking: replaced, or not in any file yet; to be revoked. */
  state: 'active' | 'revoking'
}

/** Vault, for what is issued to one volume alone. Each answer hangs on a token of its own. */
export type Issuer = {
  /**
   * A token that nobody else uses.
   * @throws FaultError as SecretStore.read does for logins
   */
  logIn(identity: Identity, tokens: readonly ServiceAccountToken[], signal: AbortSignal): Promise<LeaseToken>
  /** @throws FaultError read_denied, path_not_found, call_refused, credential_refused, tls, unreachable, … */
  issue(
    identity: Identity,
    token: LeaseToken,
    order: IssueRequest,
    signal: AbortSignal,
  ): Promise<IssueResponse>
  /**
   * Token and lease with their lives prolonged; undefined when Vault will not prolong them by what is worth it.
   * @throws FaultError when Vault could not be asked
   */
  renew(holding: Lease, signal: AbortSignal): Promise<Pick<Lease, 'token' | 'vaultLease'> | undefined>
  /**
   * Takes back what was issued, with its token. Every answer is final: asking again would change nothing.
   * @throws FaultError when Vault could not be asked, or cannot do it now: try again
   */
  revoke(holding: Lease, signal: AbortSignal): Promise<Revoked>
}

/**
 * unknown: Vault knows it no more. not-permitted: Vault does not let the token end itself or what it made, which ends by
 * its TTL; it is told in the log.
 */
export type Revoked = 'revoked' | 'unknown' | 'not-permitted'

/**
 * What is issued to volumes, over a restart of ours (each leasedAt in wall time there): sealed in the memory of the
 * volume's own tmpfs, where neither a pod
 * nor a disk sees it, under a key that the ledger keeps.
 */
export type LeaseStore = {
  /** A new key, for a new volume. */
  newKey(): string
  /** Replaces what is kept. False: this node or these holdings do not allow it, nothing is kept. Never throws. */
  put(targetPath: string, key: string, holdings: readonly Lease[]): boolean
  /** undefined: nothing is kept, or it cannot be read. Never throws. */
  get(targetPath: string, key: string): Lease[] | undefined
}
