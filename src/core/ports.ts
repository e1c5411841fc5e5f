import type { FaultError } from './errors.ts'
import type { CaCertRef, DeletionPolicy, ImportSpec, SecretKeyRef, UpdateMode } from './import.ts'
import type { Lease } from './issued.ts'
import type { SecretBytes, SecretText } from './secret.ts'
import type { Value } from './value.ts'

/** Time. Unit tests pass a fake one and never sleep. */
export type Clock = {
  /**
   * Wall time, milliseconds since the Unix epoch. It may step in either direction: only for what Vault, Kubernetes or a
   * certificate says in wall time, and for what people read.
   */
  now(): number
  /** Milliseconds from an arbitrary start, never stepping: for every duration. Of no meaning to another process. */
  monotonic(): number
  /** Runs `task` once after `delayMs`; the answer cancels it. Never keeps the process alive. */
  after(delayMs: number, task: () => void): () => void
  /** Resolves after `delayMs`; rejects with the signal's reason when it aborts first. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>
}

/** Structured log: a constant message, values in fields (names in ops/log.ts). */
export type Log = {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** What a pod logs in with: a service-account token as kubelet hands it to us, or the secret ID of its AppRole. */
export type ServiceAccountToken = {
  token: SecretText
  /** Milliseconds since the Unix epoch; Infinity for a secret ID. */
  expiresAt: number
}

export type Pod = {
  name: string
  namespace: string
  uid: string
  serviceAccount: string
}

/** What one pod asks for: the NodePublishVolume request, parsed. */
export type PublishRequest = {
  volumeId: string
  targetPath: string
  readOnly: boolean
  /** gid from volume_mount_group: the pod's fsGroup. */
  fsGroup: number | undefined
  pod: Pod
  importName: string
  /** By audience. */
  tokens: ReadonlyMap<string, ServiceAccountToken>
  /** All that must be the same in a repeated publish, without tokens: compared as a whole. */
  fingerprint: string
}

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

/** A JSON value whose numbers keep their literal text: see core/json.ts. */
export type Json = null | boolean | string | JsonNumber | Json[] | { [key: string]: Json }
/** An interface, for a type alias would fit the index signature above and isJsonObject could not rule it out. */
export interface JsonNumber {
  readonly rawJSON: string
}

/** What one path held. `keys` stand in the order in which Vault sent them. */
export type SecretData = {
  values: ReadonlyMap<string, Value>
  /** KV v2 version, when the engine tells one. */
  version: number | undefined
  /** Set when the answer was made for whoever asked and ends by itself: it must not be shared. */
  lease?: Lease
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
  retire(identity: Identity, signal: AbortSignal): Promise<void>
  /** The certificate authorities that verify the endpoint; undefined: the system's. */
  authority(endpoint: VaultEndpoint): string | undefined
  /** Counts a volume as a user of the identity's Vault token. Idempotent. */
  retain(identity: Identity, volumeId: string): void
  /** The volume is gone: with its last user the Vault token is revoked (best effort, never throws). Idempotent. */
  release(identityKey: string, volumeId: string, signal: AbortSignal): Promise<void>
  /** Closes connections. Revokes nothing: other processes of ours may go on with the volumes. */
  close(): Promise<void>
}

/**
 * Where imports come from: a directory or the API server. Only imports that volumes of this node use are read, judged
 * and followed: what other imports are there costs nothing.
 */
export type ImportSource = {
  /**
   * The import as it is now, the same object for as long as it does not change. From the first call on it is followed,
   * until `forget`.
   * @throws FaultError import_not_found (naming the imports that exist), import_invalid, imports_unavailable; the
   * signal's reason
   */
  get(namespace: string, name: string, signal: AbortSignal): Promise<ImportSpec>
  /** No volume of this node uses the import any more. Idempotent. */
  forget(namespace: string, name: string): void
  /** Calls back for every followed import that changed or went. */
  onChange(listener: (namespace: string, name: string) => void): void
  /** Resolves once imports can be asked for, or after some seconds while the API server is away. */
  start(signal: AbortSignal): Promise<void>
  close(): Promise<void>
}

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
export type WantedSecret = {
  namespace: string
  name: string
  type: string
  deletionPolicy: DeletionPolicy
  importName: string
  /** The pod for which it is kept. */
  pod: Pod
  data: ReadonlyMap<string, SecretBytes>
  /** When Vault was asked for it: of two that differ, the later is right. Milliseconds since the Unix epoch. */
  seenAt: number
  /** Something in it was issued to this pod alone: other pods' values differ for ever, and one of them is kept. */
  isOwn: boolean
}

/** Kubernetes Secrets kept in step with files. */
export type SecretSync = {
  /**
   * Writes what differs, and nothing when nothing does.
   * @throws FaultError sync_refused, sync_invalid, sync_unavailable
   */
  sync(secrets: readonly WantedSecret[], signal: AbortSignal): Promise<void>
}

/** What is mounted: survives a restart, holds no secret and no token. */
export type LedgerEntry = {
  volumeId: string
  targetPath: string
  readOnly: boolean
  fsGroup: number | undefined
  pod: Pod
  importName: string
  fingerprint: string
  updateMode: UpdateMode
  sizeBytes: number
  /** Opens what the volume's Safe holds; undefined for volumes to which nothing is issued. */
  safeKey: string | undefined
  /** mounting: killed in this phase, the target holds no complete files and is removed at start. */
  phase: 'mounting' | 'complete'
}

export type LedgerStore = {
  /** Reads all entries; unreadable ones are logged and left out. */
  load(): LedgerEntry[]
  put(entry: LedgerEntry): void
  remove(targetPath: string): void
}

/** Tells the pod's owner: Kubernetes events, or only the log where there is no API server. */
export type Notifier = {
  failed(pod: Pod, importName: string, error: FaultError): void
  recovered(pod: Pod, importName: string): void
  rotated(pod: Pod, importName: string, files: readonly string[]): void
}

/** Counters and timings, named once in ops/metrics.ts. */
export type Meter = {
  published(result: string, seconds: number): void
  unpublished(result: string, seconds: number): void
  rotated(result: 'unchanged' | 'changed' | 'failed', fault: string): void
  vaultCall(operation: string, result: string, seconds: number): void
  login(method: string, result: string): void
}

/** What the gRPC layer calls: one function per RPC that does something. All reject with FaultError only. */
export type NodeFlow = {
  publish(request: PublishRequest, signal: AbortSignal): Promise<void>
  unpublish(request: { volumeId: string; targetPath: string }, signal: AbortSignal): Promise<void>
  /** @throws FaultError volume_not_found for an unknown volume or path */
  stats(request: { volumeId: string; volumePath: string }): VolumeStats
}

export type VolumeStats = {
  bytes: { total: number; used: number; available: number }
  inodes: { total: number; used: number; available: number }
}
