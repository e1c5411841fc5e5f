import { formatDuration } from '../duration.ts'
import type { Config } from './config.ts'
import { helpText } from './help.ts'
import { type DefaultContext, flagName, settingNames, settings } from './settings.ts'
import { type Given, readCommandLine, readEnvironment, readSettingsFile, type Source } from './sources.ts'

export type ParsedConfig = { config: Config } | { help: string } | { version: true } | { faults: string[] }

/**
 * Settings from flags, environment, file and defaults, in this order of precedence. Reports all faults at once, each with
 * its setting and source.
 * @param argv arguments after the program's own name
 * @param readFile reads and parses a YAML file; an error becomes a fault of --config
 * @param isTTY whether standard output is a terminal
 */
export function parseConfig(options: {
  argv: readonly string[]
  env: Readonly<Record<string, string | undefined>>
  readFile: (path: string) => unknown
  isTTY: boolean
}): ParsedConfig {
  const { argv, env, readFile, isTTY } = options
  const line = readCommandLine(argv)
  if (line.wantsHelp) return { help: helpText() }
  if (line.wantsVersion) return { version: true }
  const sources = [
    line,
    readEnvironment(env),
    readFileSource(line.configFile ?? env.VAULT_FILES_CONFIG, readFile),
  ]
  const faults = sources.flatMap((source) => source.faults)
  const config = assemble(sources, { env, isTTY }, faults)
  faults.push(...crossFaults(config))
  return faults.length > 0 ? { faults } : { config: Object.freeze(config as Config) }
}

function readFileSource(path: string | undefined, readFile: (path: string) => unknown): Source {
  if (!path) return { given: new Map(), faults: [] }
  try {
    return readSettingsFile(path, readFile(path))
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return { given: new Map(), faults: [`--config (${path}): ${reason}`] }
  }
}

/** The valid settings; adds the faults of the others to `faults`. */
function assemble(
  sources: Source[],
  { env, isTTY }: Omit<DefaultContext, 'endpoint' | 'maxNodeBytes'>,
  faults: string[],
): Partial<Config> {
  const config: Record<string, unknown> = {}
  for (const name of settingNames) {
    const given = sources.map((source) => source.given.get(name)).find((found) => found !== undefined)
    // A placeholder, so that an invalid endpoint is reported once and not again by settings that derive from it.
    const endpoint = typeof config.endpoint === 'string' ? config.endpoint : 'unix:///'
    const maxNodeBytes = typeof config.maxNodeBytes === 'number' ? config.maxNodeBytes : 2 ** 40
    const value = evaluate(name, given, { env, isTTY, endpoint, maxNodeBytes })
    if ('faults' in value) faults.push(...value.faults)
    else config[name] = value.value
  }
  return config
}

function evaluate(
  name: keyof Config,
  given: Given | undefined,
  context: DefaultContext,
): { value: unknown } | { faults: string[] } {
  const setting = settings[name]
  const from = given?.from ?? `--${flagName(name)}`
  if ('isRepeated' in setting) {
    const parsed = (given?.texts ?? []).map((text) => ({ text, result: setting.parse(text) }))
    const faults = parsed.flatMap(({ text, result }) =>
      'mustBe' in result ? [wrong(from, result.mustBe, text)] : [],
    )
    return faults.length > 0
      ? { faults }
      : { value: parsed.flatMap(({ result }) => ('value' in result ? [result.value] : [])) }
  }
  const text = given?.texts.at(-1) ?? setting.fallback(context)
  if (text === undefined)
    return { faults: [`${from}: required (default: ${setting.fallbackShown}, which is not set)`] }
  const result = setting.parse(text)
  return 'value' in result ? result : { faults: [wrong(from, result.mustBe, text)] }
}

function wrong(from: string, mustBe: string, text: string): string {
  // An address may contain a password, against the rules.
  const shown = text.includes('@') ? '' : `, is ${JSON.stringify(text.slice(0, 200))}`
  return `${from}: must be ${mustBe}${shown}`
}

function crossFaults(config: Partial<Config>): string[] {
  const {
    httpTlsCert,
    httpTlsKey,
    httpClientCa,
    imports,
    registrationSocket,
    removeStartupTaint,
    minRefreshIntervalMs = 0,
    rotationIntervalMs = Infinity,
    maxVolumeBytes = 0,
    maxNamespaceBytes = Infinity,
    maxNodeBytes = Infinity,
  } = config
  const faults: string[] = []
  if (httpTlsCert && !httpTlsKey) faults.push('--http-tls-key: required with --http-tls-cert')
  if (httpTlsKey && !httpTlsCert) faults.push('--http-tls-cert: required with --http-tls-key')
  if (httpClientCa && !httpTlsCert) faults.push('--http-client-ca: needs --http-tls-cert and --http-tls-key')
  if (removeStartupTaint && (imports?.kind === 'dir' || !registrationSocket)) {
    faults.push('--remove-startup-taint: needs --registration-socket and --imports=kube')
  }
  if (minRefreshIntervalMs > rotationIntervalMs) {
    const floor = formatDuration(minRefreshIntervalMs)
    faults.push(`--rotation-interval: must not be shorter than --min-refresh-interval, which is ${floor}`)
  }
  if (maxNamespaceBytes > maxNodeBytes) {
    faults.push(`--max-namespace-bytes: must not be more than --max-node-bytes, which is ${maxNodeBytes}`)
  }
  if (maxVolumeBytes > maxNamespaceBytes) {
    const limit = `--max-namespace-bytes, which is ${maxNamespaceBytes}`
    faults.push(`--max-volume-bytes: must not be more than ${limit}`)
  }
  return faults
}
