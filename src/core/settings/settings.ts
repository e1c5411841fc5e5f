import type { Config } from './config.ts'
import * as parse from './value-parsers.ts'

/** Values that a default may depend on. */
export type DefaultContext = {
  env: Readonly<Record<string, string | undefined>>
  isTTY: boolean
  /** The effective --endpoint. */
  endpoint: string
  /** The effective --max-node-bytes. */
  maxNodeBytes: number
}

/** One setting. Its flag, environment variable and key in the settings file derive from its name in Config. */
export type Setting<T> = Readonly<{
  /** Placeholder of the value in the help; '' for a switch. */
  placeholder: string
  /** One or two plain sentences. */
  description: string
  parse: parse.Parser<T>
  /** As a user would type it; undefined: the setting is required. */
  fallback: (context: DefaultContext) => string | undefined
  /** Description of the default, if the text of `fallback` is not clear enough. */
  fallbackShown?: string
}>

/** A setting that may be repeated: `parse` gets one value at a time. */
export type RepeatedSetting = Omit<Setting<string>, 'fallback'> &
  Readonly<{ isRepeated: true; fallbackShown: string }>

export type Settings = {
  readonly [K in keyof Config]: K extends 'allowAddress' ? RepeatedSetting : Setting<Config[K]>
}

function plain<T>(
  parser: parse.Parser<T>,
  placeholder: string,
  fallback: string,
  description: string,
): Setting<T> {
  return { placeholder, description, parse: parser, fallback: () => fallback }
}

function optional<T>(
  parser: parse.Parser<T>,
  placeholder: string,
  none: string,
  description: string,
): Setting<T> {
  return { placeholder, description, parse: parser, fallback: () => '', fallbackShown: none }
}

function off(description: string): Setting<boolean> {
  return { placeholder: '', description, parse: parse.flag, fallback: () => 'false' }
}

/** Every setting of the plugin, in the order of the help. Parsing, help and docs are derived from this table. */
export const settings: Settings = {
  endpoint: plain(parse.unixEndpoint, 'unix://PATH', 'unix:///csi/csi.sock', 'CSI socket to listen on.'),
  nodeId: {
    placeholder: 'NAME',
    description: 'Kubernetes name of this node.',
    parse: parse.nonEmpty,
    fallback: ({ env }) => env.NODE_NAME || undefined,
    fallbackShown: '$NODE_NAME',
  },
  driverName: plain(
    parse.driverName,
    'NAME',
    'secrets-store.csi.deckhouse.io',
    'CSI driver name, as pods use it in volumes[].csi.driver.',
  ),
  registrationSocket: plain(
    parse.absolutePathOrOff,
    'PATH',
    'off',
    "Registration socket, in kubelet's plugins_registry directory. When set, the plugin registers itself with kubelet.",
  ),
  kubeletEndpoint: {
    placeholder: 'PATH',
    description: 'Path of the CSI socket on the host, passed to kubelet at registration.',
    parse: parse.nonEmpty,
    fallback: ({ endpoint }) => endpoint.replace(/^unix:\/\//, ''),
    fallbackShown: 'the path of --endpoint',
  },
  removeStartupTaint: optional(
    parse.optionalText,
    'KEY',
    'none',
    'Key of a taint to remove from this node once kubelet has registered the plugin. Needs get and patch on nodes.',
  ),
  stateDir: plain(
    parse.nonEmpty,
    'PATH',
    '/run/vault-files-csi',
    'Directory for the ledger of mounted volumes, which contains no secrets and no tokens.',
  ),
  imports: plain(
    parse.imports,
    'kube|dir:PATH',
    'kube',
    'Source of SecretsStoreImports: the API server, or a directory of manifests.',
  ),
  vaultAddr: optional(
    parse.optionalAddress,
    'URL',
    'none: every import must name one',
    'Address of Vault or OpenBao for imports without spec.address.',
  ),
  vaultAuthPath: plain(
    parse.nonEmpty,
    'MOUNT',
    'kubernetes',
    'Auth mount for imports without spec.authPath.',
  ),
  vaultNamespace: optional(
    parse.anyText,
    'NAME',
    'none',
    'Vault namespace for imports without spec.namespace.',
  ),
  vaultCaCert: optional(
    parse.optionalText,
    'FILE',
    "the system's",
    'PEM file with the CAs that verify Vault. Reloaded when it changes.',
  ),
  vaultSkipVerify: off('Do not verify the TLS certificate of --vault-addr. For testing only.'),
  rotationIntervalMs: plain(
    parse.duration,
    'DURATION',
    '2m',
    'Time between refreshes, ±10 % jitter, for imports without refreshInterval.',
  ),
  minRefreshIntervalMs: plain(
    parse.duration,
    'DURATION',
    '10s',
    'Shortest refreshInterval that an import may set.',
  ),
  vaultQps: plain(
    parse.wholeNumber,
    'N',
    '50',
    'Maximum number of requests per second from this node to each Vault address.',
  ),
  vaultConcurrency: plain(
    parse.wholeNumber,
    'N',
    '16',
    'Maximum number of concurrent requests from this node to each Vault address.',
  ),
  httpAddr: plain(
    parse.listenAddress,
    'HOST:PORT',
    '0.0.0.0:9808',
    'Address to serve /metrics, /healthz and /readyz on, or off.',
  ),
  httpTlsCert: optional(
    parse.optionalText,
    'FILE',
    'none: plain http',
    'PEM certificate chain for --http-addr.',
  ),
  httpTlsKey: optional(parse.optionalText, 'FILE', 'none', 'PEM private key for --http-tls-cert.'),
  httpClientCa: optional(
    parse.optionalText,
    'FILE',
    'none: any client',
    'PEM file with CAs. Only clients with a certificate that one of them signed are served.',
  ),
  allowAddress: {
    placeholder: 'URL',
    description:
      'Additional address that imports may use, or * for any. May be repeated; comma-separated in the environment.',
    parse: parse.addressOrAny,
    fallbackShown: 'only --vault-addr',
    isRepeated: true,
  },
  allowHttp: off('Allow imports to use http:// addresses. --vault-addr may be http without it.'),
  allowSkipVerify: off('Allow imports to set skipTLSVerify.'),
  allowTokenExport: off(
    "Allow imports to write the pod's own Vault tokens and secret IDs to files (spec.credentials), and to use paths under auth/ and sys/.",
  ),
  allowSecretSync: off(
    'Allow imports to sync Kubernetes Secrets with files (spec.secretSync). Needs get, create and patch on secrets and get on pods.',
  ),
  maxVolumeBytes: plain(
    parse.size,
    'SIZE',
    '4Mi',
    'Maximum size of the tmpfs of one volume. Each tmpfs is sized for its files, with room to grow.',
  ),
  maxNodeBytes: plain(
    parse.size,
    'SIZE',
    '256Mi',
    'Maximum total size of all volumes on this node. Their memory is charged to the plugin: its memory limit must be higher.',
  ),
  maxNamespaceBytes: {
    placeholder: 'SIZE',
    description: 'Maximum total size of all volumes of one Kubernetes namespace on this node.',
    parse: parse.size,
    fallback: ({ maxNodeBytes }) => String(Math.floor(maxNodeBytes / 2)),
    fallbackShown: 'half of --max-node-bytes',
  },
  logLevel: plain(
    parse.oneOf('trace', 'debug', 'info', 'warn', 'error'),
    'LEVEL',
    'info',
    'Log level: trace, debug, info, warn or error.',
  ),
  logFormat: {
    placeholder: 'FORMAT',
    description: 'Log format: json or pretty.',
    parse: parse.oneOf('json', 'pretty'),
    fallback: ({ isTTY }) => (isTTY ? 'pretty' : 'json'),
    fallbackShown: 'json, pretty on a terminal',
  },
}

export const settingNames = Object.keys(settings) as (keyof Config)[]

/** rotationIntervalMs is --rotation-interval: users write the unit in the value. */
export function flagName(name: keyof Config): string {
  return name.replace(/Ms$/, '').replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

/** --vault-addr is VAULT_ADDR, as in Vault's own tools; all others have a prefix. */
export function environmentName(name: keyof Config): string {
  if (name === 'vaultAddr') return 'VAULT_ADDR'
  return `VAULT_FILES_${flagName(name).replaceAll('-', '_').toUpperCase()}`
}
