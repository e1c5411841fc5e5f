import { parseArgs } from 'node:util'
import { nearestName } from '../nearest-name.ts'
import type { Config } from './config.ts'
import { environmentName, flagName, settingNames, settings } from './settings.ts'

/** The raw values of a setting and their source, which faults name. */
export type Given = { texts: string[]; from: string }
export type Source = { given: Map<keyof Config, Given>; faults: string[] }

export type CommandLine = Source & {
  wantsHelp: boolean
  wantsVersion: boolean
  configFile: string | undefined
}

const nameByFlag = new Map(settingNames.map((name) => [flagName(name), name]))
const generalFlags = ['config', 'help', 'version']

/** Flags: `--name value` or `--name=value`; switches take no value, or =true or =false. The last of several wins. */
export function readCommandLine(argv: readonly string[]): CommandLine {
  const line: CommandLine = {
    given: new Map(),
    faults: [],
    wantsHelp: false,
    wantsVersion: false,
    configFile: undefined,
  }
  const { tokens } = parseArgs({
    args: [...argv],
    options: flagOptions(),
    strict: false,
    allowPositionals: true,
    tokens: true,
  })
  for (const token of tokens) {
    if (token.kind === 'positional') line.faults.push(`unexpected argument ${JSON.stringify(token.value)}`)
    if (token.kind === 'option') takeOption(line, token)
  }
  return line
}

type Option = { name: string; rawName: string; value: string | undefined; inlineValue: boolean | undefined }

function takeOption(line: CommandLine, { name, rawName, value, inlineValue }: Option): void {
  if (name === 'help') line.wantsHelp = true
  else if (name === 'version') line.wantsVersion = true
  else if (isSwitch(name)) give(line, name, value ?? 'true')
  else if (!nameByFlag.has(name) && name !== 'config') line.faults.push(unknown(rawName, name))
  // `--endpoint --node-id x`: parseArgs takes the next flag as the value.
  else if (value === undefined || (!inlineValue && value.startsWith('--')))
    line.faults.push(`${rawName}: needs a value`)
  else if (name === 'config') line.configFile = value
  else give(line, name, value)
}

function give(line: CommandLine, flag: string, text: string): void {
  const name = nameByFlag.get(flag)
  if (name === undefined) return
  const before = isRepeated(name) ? (line.given.get(name)?.texts ?? []) : []
  line.given.set(name, { texts: [...before, text], from: `--${flag}` })
}

/** Empty variables count as not set: templated manifests leave them empty. */
export function readEnvironment(env: Readonly<Record<string, string | undefined>>): Source {
  const given = new Map<keyof Config, Given>()
  for (const name of settingNames) {
    const text = env[environmentName(name)]
    if (!text) continue
    const texts = isRepeated(name)
      ? text
          .split(',')
          .map((part) => part.trim())
          .filter(Boolean)
      : [text]
    given.set(name, { texts, from: `--${flagName(name)} (from ${environmentName(name)})` })
  }
  return { given, faults: [] }
}

/**
 * The settings file: a mapping of flag names without their dashes (`vault-addr: https://…`) to values.
 * @param content parsed YAML; undefined or null for an empty file
 */
export function readSettingsFile(file: string, content: unknown): Source {
  const source: Source = { given: new Map(), faults: [] }
  if (content === undefined || content === null) return source
  if (typeof content !== 'object' || Array.isArray(content)) {
    return {
      ...source,
      faults: [`--config (${file}): must be a mapping of settings, such as vault-addr: https://…`],
    }
  }
  for (const [key, value] of Object.entries(content)) {
    const name = nameByFlag.get(key)
    const from = `--${key} (from ${file})`
    if (name === undefined) source.faults.push(`${file}: ${unknown(key, key)}`)
    else takeValue(source, name, value, from)
  }
  return source
}

function takeValue(source: Source, name: keyof Config, value: unknown, from: string): void {
  if (value === null) return
  const list = isRepeated(name) && Array.isArray(value) ? value : [value]
  const isPlain = list.every((item) => ['string', 'number', 'boolean'].includes(typeof item))
  if (isPlain) source.given.set(name, { texts: list.map(String), from })
  else source.faults.push(`${from}: must be a plain value${isRepeated(name) ? ' or a list of them' : ''}`)
}

function flagOptions() {
  const named = settingNames.map(
    (name) => [flagName(name), { type: isSwitch(flagName(name)) ? 'boolean' : 'string' }] as const,
  )
  return {
    ...Object.fromEntries(named),
    config: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
    version: { type: 'boolean' },
  } as const
}

function unknown(written: string, name: string): string {
  const nearest = nearestName(name, [...nameByFlag.keys(), ...(written.startsWith('-') ? generalFlags : [])])
  const dashes = written.startsWith('-') ? '--' : ''
  const hint = nearest ? `did you mean ${dashes}${nearest}?` : 'see --help'
  return `unknown ${dashes ? 'flag' : 'setting'} ${JSON.stringify(written)}, ${hint}`
}

function isSwitch(flag: string): boolean {
  const name = nameByFlag.get(flag)
  return name !== undefined && settings[name].placeholder === ''
}

export function isRepeated(name: keyof Config): boolean {
  return 'isRepeated' in settings[name]
}
