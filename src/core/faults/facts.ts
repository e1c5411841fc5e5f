/** Every way in which we fail. The name is the metric label. */
export type Fault =
  | 'invalid_request'
  | 'already_exists'
  | 'volume_not_found'
  | 'shutting_down'
  | 'deadline'
  | 'import_not_found'
  | 'import_invalid'
  | 'imports_unavailable'
  | 'reference_missing'
  | 'reference_unavailable'
  | 'policy_refused'
  | 'token_missing'
  | 'token_unavailable'
  | 'login_denied'
  | 'login_reviewer'
  | 'login_audience'
  | 'login_mount'
  | 'read_denied'
  | 'call_refused'
  | 'path_not_found'
  | 'kv2_path'
  | 'version_deleted'
  | 'key_missing'
  | 'tls'
  | 'unreachable'
  | 'sealed'
  | 'standby'
  | 'rate_limited'
  | 'vault_error'
  | 'decode_failed'
  | 'template_failed'
  | 'key_unusable'
  | 'name_taken'
  | 'credential_refused'
  | 'sync_refused'
  | 'sync_invalid'
  | 'sync_unavailable'
  | 'volume_full'
  | 'budget_exceeded'
  | 'import_too_large'
  | 'volume_io'
  | 'mount_failed'
  | 'internal'

/** gRPC status names, spelled as in the specification; grpc/unary.ts turns them into numbers. */
export type StatusName =
  | 'INVALID_ARGUMENT'
  | 'DEADLINE_EXCEEDED'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'UNAVAILABLE'
  | 'INTERNAL'
  | 'UNAUTHENTICATED'

/**
 * How the rotation goes on after a fault.
 * soon: it may pass by itself (network, 5xx, 429); slow: somebody must change something first.
 */
export type Retry = 'soon' | 'slow'

/**
 * What is known about a failure. Plain names and places only: no secret, no token, no file content.
 * Every field is safe to show to the pod's owner.
 */
export type Facts = {
  address?: string
  vaultNamespace?: string
  method?: string
  authMount?: string
  role?: string
  podNamespace?: string
  serviceAccount?: string
  audience?: string
  /** Audiences or names that would have been right. */
  wanted?: string
  got?: string
  importName?: string
  path?: string
  /** What a policy must grant on `path`; read when not set. */
  capability?: string
  /** Field of the import that leads to what is missing. */
  field?: string
  /** Kubernetes Secret, as namespace/name. */
  secret?: string
  key?: string
  file?: string
  /** Names that exist where the asked one was not found. */
  known?: readonly string[]
  version?: number
  deletedAt?: string
  sizeBytes?: number
  limitBytes?: number
  /** The flag or field that changes the outcome. */
  setting?: string
  /** What was used as the certificate authority. */
  caSource?: string
  /** HTTP status of Vault's answer. */
  httpStatus?: number
  /** Vault's or the system's own words, scrubbed of tokens (see scrub). */
  serverMessage?: string
  /** Plain statement of what is wrong, for faults that have no better facts. */
  reason?: string
  /** Milliseconds after which Vault asked to be tried again. */
  retryAfterMs?: number
  /**
   * The work was ended before it was done, which may be no fault of the import on a node that is busy: nothing to
   * remember as the last word on it.
   */
  endedBy?: 'time' | 'memory'
}
