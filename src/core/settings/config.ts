/** The plugin's settings, validated. settings.ts describes each. Durations in milliseconds, sizes in bytes. */
export type Config = Readonly<{
  endpoint: string
  nodeId: string
  driverName: string
  registrationSocket: string | undefined
  /** Path of the CSI socket on the host. */
  kubeletEndpoint: string
  /** Key of a node's taint. */
  removeStartupTaint: string | undefined
  stateDir: string
  imports: { kind: 'kube' } | { kind: 'dir'; path: string }
  vaultAddr: string | undefined
  vaultAuthPath: string
  vaultNamespace: string
  /** Path of a PEM file. */
  vaultCaCert: string | undefined
  vaultSkipVerify: boolean
  rotationIntervalMs: number
  minRefreshIntervalMs: number
  vaultQps: number
  vaultConcurrency: number
  /** undefined: off. */
  httpAddr: { host: string; port: number } | undefined
  httpTlsCert: string | undefined
  httpTlsKey: string | undefined
  httpClientCa: string | undefined
  allowAddress: readonly string[]
  allowHttp: boolean
  allowSkipVerify: boolean
  allowTokenExport: boolean
  allowSecretSync: boolean
  /** The largest tmpfs of one volume. */
  maxVolumeBytes: number
  /** Limit of all volumes of the node together. */
  maxNodeBytes: number
  /** Limit of all volumes of one Kubernetes namespace on the node together. */
  maxNamespaceBytes: number
  logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error'
  logFormat: 'json' | 'pretty'
}>
