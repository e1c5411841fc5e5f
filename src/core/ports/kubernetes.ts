import type { FaultError } from '../faults/fault.ts'
import type { CaCertRef, DeletionPolicy, SecretKeyRef } from '../imports/import.ts'
import type { SecretBytes, SecretText } from '../secret.ts'
import type { Pod, ServiceAccountToken } from './pod.ts'

/** Service-account tokens that kubelet did not hand over: by TokenRequest where there is an API server. */
export type TokenSource = {
  /**
   * A pod-bound token for an audience that the CSIDriver does not list; undefined where none can be had.
   * @throws FaultError token_missing, token_unavailable
   */
  request(pod: Pod, audience: string, signal: AbortSignal): Promise<ServiceAccountToken | undefined>
}

/** What imports refer to in their own namespace. */
export type References = {
  /**
   * PEM of the CA that the import's caCertRef names; what was read lately is not read again.
   * @throws FaultError reference_missing, reference_unavailable
   */
  caCert(namespace: string, ref: CaCertRef, signal: AbortSignal): Promise<string>
  /**
   * The secret ID of an AppRole, read anew each time: it is asked for when somebody must log in.
   * @throws FaultError reference_missing, reference_unavailable
   */
  secretId(namespace: string, ref: SecretKeyRef, signal: AbortSignal): Promise<SecretText>
}

/** One Kubernetes Secret that must hold what files hold. */
export type SyncedSecret = {
  namespace: string
  name: string
  type: string
  deletionPolicy: DeletionPolicy
  importName: string
  /** The pod for which it is kept. */
  pod: Pod
  data: ReadonlyMap<string, SecretBytes>
  /** When Vault was asked for it: of two that differ, the later is right. Milliseconds since the Unix epoch. */
  fetchedAt: number
  /** Something in it was issued to this pod alone: other pods' values differ for ever, and one of them is kept. */
  isPerVolume: boolean
}

/** Kubernetes Secrets kept in step with files. */
export type SecretSync = {
  /**
   * Writes what differs, and nothing when nothing does.
   * @throws FaultError sync_refused, sync_invalid, sync_unavailable
   */
  sync(secrets: readonly SyncedSecret[], signal: AbortSignal): Promise<void>
}

/** Tells the pod's owner: Kubernetes events, or only the log where there is no API server. */
export type Notifier = {
  failed(pod: Pod, importName: string, error: FaultError): void
  recovered(pod: Pod, importName: string): void
  rotated(pod: Pod, importName: string, files: readonly string[]): void
}
