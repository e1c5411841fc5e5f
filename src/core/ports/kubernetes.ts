import type { FaultError } from '../faults/fault.ts'
import type { CaCertRef, DeletionPolicy, SecretKeyRef } from '../imports/import.ts'
import type { SecretBytes, SecretText } from '../secret.ts'
import type { Pod, ServiceAccountToken } from './pod.ts'

/** Service-account tokens that kubelet did not pass: from the API server's TokenRequest. */
export type TokenSource = {
  /**
   * A pod-bound token for an audience that the CSIDriver does not list; undefined without an API server.
   * @throws FaultError token_missing, token_unavailable
   */
  request(pod: Pod, audience: string, signal: AbortSignal): Promise<ServiceAccountToken | undefined>
}

/** Objects of the import's own namespace to which it refers. */
export type References = {
  /**
   * PEM of the CA that the import's caCertRef names, cached for a short time.
   * @throws FaultError reference_missing, reference_unavailable
   */
  caCert(namespace: string, ref: CaCertRef, signal: AbortSignal): Promise<string>
  /**
   * The secret ID of an AppRole, never cached: it is read for each login.
   * @throws FaultError reference_missing, reference_unavailable
   */
  secretId(namespace: string, ref: SecretKeyRef, signal: AbortSignal): Promise<SecretText>
}

/** One Kubernetes Secret and the content that it must have. */
export type SyncedSecret = {
  namespace: string
  name: string
  type: string
  deletionPolicy: DeletionPolicy
  importName: string
  /** The pod that wants it. */
  pod: Pod
  data: ReadonlyMap<string, SecretBytes>
  /** When it was fetched from Vault: of two that differ, the later is right. Milliseconds since the Unix epoch. */
  fetchedAt: number
  /** It holds a per-volume lease: other pods' values differ for ever, and one pod's values stay. */
  isPerVolume: boolean
}

/** Syncs Kubernetes Secrets with files. */
export type SecretSync = {
  /**
   * Writes only what differs.
   * @throws FaultError sync_refused, sync_invalid, sync_unavailable
   */
  sync(secrets: readonly SyncedSecret[], signal: AbortSignal): Promise<void>
}

/** Reports to the app team: by Kubernetes events, or by the log without an API server. */
export type Notifier = {
  failed(pod: Pod, importName: string, error: FaultError): void
  recovered(pod: Pod, importName: string): void
  rotated(pod: Pod, importName: string, files: readonly string[]): void
}
