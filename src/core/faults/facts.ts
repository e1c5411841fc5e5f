/** Every kind of failure. The name is the metric label. */
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
 * How quickly a refresh is retried after a fault.
 * soon: it may pass without intervention (network, 5xx, 429); slow: something must be changed first.
 */
export type Retry = 'soon' | 'slow'

/**
 * The context of a failure. Only names and places: no secret, no token, no file content.
 * Every field is safe to show to the app team.
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
  /** The audiences or names that would have been accepted. */
  wanted?: string
  got?: string
  importName?: string
  path?: string
  /** Capability that a policy must grant on `path`; undefined: read. */
  capability?: string
  /** Field of the import that refers to the missing object. */
  field?: string
  /** Kubernetes Secret, as namespace/name. */
  secret?: string
  key?: string
  file?: string
  /** Available names where the requested one was not found. */
  known?: readonly string[]
  version?: number
  deletedAt?: string
  sizeBytes?: number
  limitBytes?: number
  /** The flag or field that changes the outcome. */
  setting?: string
  /** The CA bundle that was used. */
  caSource?: string
  /** HTTP status of Vault's response. */
  httpStatus?: number
  /** Error text from Vault, the API server or the system, scrubbed of tokens (see scrub). */
  serverMessage?: string
  /** Plain description of the failure, for faults without more specific fields. */
  reason?: string
  /** Milliseconds that Vault asked to wait before a retry. */
  retryAfterMs?: number
  /**
   * The limit that stopped the work. A busy node may be the cause rather than the import, so the result must not be
   * remembered as final.
   */
  endedBy?: 'time' | 'memory'
}
