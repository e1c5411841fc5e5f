import type { Config } from './config.ts'
import * as parse from './value-parsers.ts'

/** What else a default may depend on. */
export type DefaultContext = {
  env: Readonly<Record<string, string | undefined>>
  isTTY: boolean
  /** --endpoint as it was chosen. */
  endpoint: string
  /** --max-node-bytes as it was chosen. */
  maxNodeBytes: number
}

/** One setting: its flag, environment variable and key in the file follow from its name in Config. */
export type Setting<T> = Readonly<{
  /** What the value looks like, for the help; '' for a switch. */
  placeholder: string
  /** One or two plain sentences. */
  meaning: string
  parse: parse.Parser<T>
  /** As a user would type it; undefined: the setting is required. */
  fallback: (context: DefaultContext) => string | undefined
  /** The default in words, where the text of `fallback` would not tell. */
  fallbackShown?: string
}>

/** A setting that may be given several times: `parse` sees one value at a time. */
export type RepeatedSetting = Omit<Setting<string>, 'fallback'> &
  Readonly<{ isRepeated: true; fallbackShown: string }>

export type Settings = {
  readonly [K in keyof Config]: K extends 'allowAddress' ? RepeatedSetting : Setting<Config[K]>
}

function plain<T>(
  parser: parse.Parser<T>,
  placeholder: string,
  fallback: string,
  meaning: string,
): Setting<T> {
  return { placeholder, meaning, parse: parser, fallback: () => fallback }
}

function optional<T>(
  parser: parse.Parser<T>,
  placeholder: string,
  none: string,
  meaning: string,
): Setting<T> {
  return { placeholder, meaning, parse: parser, fallback: () => '', fallbackShown: none }
}

function off(meaning: string): Setting<boolean> {
  return { placeholder: '', meaning, parse: parse.flag, fallback: () => 'false' }
}

/** Every setting of the plugin, in the order of the help: parsing, help and docs are all made from here. */
export const settings: Settings = {
  endpoint: plain(parse.unixEndpoint, 'unix://PATH', 'unix:///csi/csi.sock', 'CSI socket to serve.'),
  nodeId: {
    placeholder: 'NAME',
    meaning: 'Name of this node, as kubelet knows it.',
    parse: parse.nonEmpty,
    fallback: ({ env }) => env.NODE_NAME || undefined,
    fallbackShown: '$NODE_NAME',
  },
  driverName: plain(
    parse.driverName,
    'NAME',
    'secrets-store.csi.deckhouse.io',
    'CSI driver name, the one that pods name in volumes[].csi.driver.',
  ),
  registrationSocket: plain(
    parse.absolutePathOrOff,
    'PATH',
    'off',
    "Path of our registration socket under kubelet's plugins_registry: with it the plugin registers itself with kubelet.",
  ),
  kubeletEndpoint: {
    placeholder: 'PATH',
    meaning: 'CSI socket as the host sees it; kubelet is told this path at registration.',
    parse: parse.nonEmpty,
    fallback: ({ endpoint }) => endpoint.replace(/^unix:\/\//, ''),
    fallbackShown: 'the path of --endpoint',
  },
  removeStartupTaint: optional(
    parse.optionalText,
    'KEY',
    'none',
    'Key of the taint to take off this node once kubelet has registered the plugin; needs get and patch on nodes.',
  ),
  stateDir: plain(
    parse.nonEmpty,
    'PATH',
    '/run/vault-files-csi',
    'Ledger of mounted volumes. Neither secrets nor tokens are in it.',
  ),
  imports: plain(
    parse.imports,
    'kube|dir:PATH',
    'kube',
    'Where SecretsStoreImports come from: the API server, or a directory of manifests.',
  ),
  vaultAddr: optional(
    parse.optionalAddress,
    'URL',
    'none: every import must name one',
    'Vault or OpenBao address for imports that name none.',
  ),
  vaultAuthPath: plain(parse.nonEmpty, 'MOUNT', 'kubernetes', 'Auth mount for imports that name none.'),
  vaultNamespace: optional(parse.anyText, 'NAME', 'none', 'Vault namespace for imports that name none.'),
  vaultCaCert: optional(
    parse.optionalText,
    'FILE',
    "the system's",
    'PEM file of the CAs that sign for Vault. Changes are followed.',
  ),
  vaultSkipVerify: off('Do not verify the TLS certificate of --vault-addr. For tests only.'),
  rotationIntervalMs: plain(
    parse.duration,
    'DURATION',
    '2m',
    'How often secrets are looked at again, ±10 %, for imports without refreshInterval.',
  ),
  minRefreshIntervalMs: plain(
    parse.duration,
    'DURATION',
    '10s',
    'The shortest refreshInterval an import may ask for.',
  ),
  vaultQps: plain(
    parse.wholeNumber,
    'N',
    '50',
    'Most calls per second from this node to each Vault address.',
  ),
  vaultConcurrency: plain(
    parse.wholeNumber,
    'N',
    '16',
    'Most calls at one time from this node to each Vault address.',
  ),
  httpAddr: plain(
    parse.listenAddress,
    'HOST:PORT',
    '0.0.0.0:9808',
    'Serves /metrics, /healthz and /readyz; off for none.',
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
    'PEM file of CAs: only clients with a certificate of theirs are answered.',
  ),
  allowAddress: {
    placeholder: 'URL',
    meaning:
      'Another address that imports may name; * for any. May be repeated; in the environment, separate by commas.',
    parse: parse.addressOrAny,
    fallbackShown: 'only --vault-addr',
    isRepeated: true,
  },
  allowHttp: off('Let imports name http:// addresses. --vault-addr may be http without it.'),
  allowSkipVerify: off('Let imports set skipTLSVerify.'),
  allowTokenExport: off(
    "Let imports write the pod's own Vault tokens and secret IDs into files (spec.credentials), and name paths under auth/ and sys/.",
  ),
  allowSecretSync: off(
    'Let imports keep Kubernetes Secrets in step with files (spec.secretSync); needs get, create and patch on secrets and get on pods.',
  ),
  maxVolumeBytes: plain(
    parse.size,
    'SIZE',
    '4Mi',
    'The most that the tmpfs of one volume may hold. Each is made as large as its files need, with room to grow.',
  ),
  maxNodeBytes: plain(
    parse.size,
    'SIZE',
    '256Mi',
    'What all volumes of this node may hold. Their memory is charged to the plugin: its limit must be higher.',
  ),
  maxNamespaceBytes: {
    placeholder: 'SIZE',
    meaning: 'What all volumes of one Kubernetes namespace on this node may hold.',
    parse: parse.size,
    fallback: ({ maxNodeBytes }) => String(Math.floor(maxNodeBytes / 2)),
    fallbackShown: 'half of --max-node-bytes',
  },
  logLevel: plain(
    parse.oneOf('trace', 'debug', 'info', 'warn', 'error'),
    'LEVEL',
    'info',
    'trace, debug, info, warn or error.',
  ),
  logFormat: {
    placeholder: 'FORMAT',
    meaning: 'json or pretty.',
    parse: parse.oneOf('json', 'pretty'),
    fallback: ({ isTTY }) => (isTTY ? 'pretty' : 'json'),
    fallbackShown: 'json, pretty on a terminal',
  },
}

export const settingNames = Object.keys(settings) as (keyof Config)[]

/** rotationIntervalMs is --rotation-interval: units belong to the code, not to its users. */
export function flagName(name: keyof Config): string {
  return name.replace(/Ms$/, '').replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

/** --vault-addr is VAULT_ADDR, as for Vault's own tools; all others are prefixed. */
export function environmentName(name: keyof Config): string {
  if (name === 'vaultAddr') return 'VAULT_ADDR'
  return `VAULT_FILES_${flagName(name).replaceAll('-', '_').toUpperCase()}`
}
