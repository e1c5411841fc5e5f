export type UpdateMode = 'Live' | 'InPlace' | 'Atomic'
export type Encoding = 'utf-8' | 'base64' | 'hex'

export type FileSpec = {
  name: string
  path: string
  key: string
  encoding: Encoding
  /** Permission bits; undefined: defaultMode, else 0640 with an fsGroup and 0644 without. */
  mode: number | undefined
  optional: boolean
}

/** A SecretsStoreImport, checked and with defaults in place; undefined means "the plugin's setting". */
export type ImportSpec = {
  name: string
  namespace: string
  authMethod: 'kubernetes' | 'jwt'
  role: string
  authPath: string | undefined
  vaultNamespace: string | undefined
  address: string | undefined
  caCert: string | undefined
  tlsServerName: string | undefined
  skipTLSVerify: boolean
  audience: string | undefined
  refreshIntervalMs: number | undefined
  updateMode: UpdateMode
  missingPolicy: 'Fail' | 'Ignore'
  defaultMode: number | undefined
  files: readonly FileSpec[]
}
