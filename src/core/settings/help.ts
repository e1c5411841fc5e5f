import type { Config } from './config.ts'
import { environmentName, flagName, settingNames, settings } from './settings.ts'

const WIDTH = 100

/** The text of --help: every setting with its description, default and environment variable. */
export function helpText(): string {
  return [
    'vault-files-csi: mounts secrets from Vault or OpenBao into pods as live files',
    '',
    'usage: vault-files-csi [flags]',
    '       vault-files-csi doctor [flags]   checks an installation; see doctor --help',
    '       vault-files-csi convert [FILE]   converts manifests of other systems; see convert --help',
    '',
    'Precedence: flag, environment variable, --config file, default.',
    'The file is YAML; its keys are the flags without leading dashes (vault-addr: https://…).',
    'Durations: 30s, 2m, 1m30s. Sizes: 4Mi, 512Ki, plain bytes. Switches: --allow-http or --allow-http=false.',
    '',
    entry('--config FILE', 'Settings file.', 'none', 'VAULT_FILES_CONFIG'),
    ...settingNames.map((name) =>
      entry(usage(name), settings[name].description, defaultShown(name), environmentName(name)),
    ),
    entry('-h, --help', 'Show this text.'),
    entry('--version', 'Show the version.'),
    '',
  ].join('\n')
}

/** The settings as a Markdown table, for the docs. */
export function settingsTable(): string {
  const rows = settingNames.map((name) => {
    const cells = [
      `\`${usage(name)}\``,
      `\`${environmentName(name)}\``,
      defaultShown(name),
      settings[name].description,
    ]
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  })
  return ['| flag | environment | default | description |', '|---|---|---|---|', ...rows, ''].join('\n')
}

function usage(name: keyof Config): string {
  return `--${flagName(name)} ${settings[name].placeholder}`.trimEnd()
}

function defaultShown(name: keyof Config): string {
  const setting = settings[name]
  if (setting.fallbackShown !== undefined) return setting.fallbackShown
  return (
    ('fallback' in setting && setting.fallback({ env: {}, isTTY: false, endpoint: '', maxNodeBytes: 0 })) ||
    'none'
  )
}

function entry(title: string, description: string, fallback?: string, variable?: string): string {
  const facts = [fallback && `Default: ${fallback}.`, variable && `Environment: ${variable}.`]
    .filter(Boolean)
    .join(' ')
  const lines = [...wrap(description), ...(facts ? wrap(facts) : [])]
  return [`  ${title}`, ...lines.map((line) => `        ${line}`)].join('\n')
}

function wrap(text: string): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last === undefined || last.length + word.length + 9 > WIDTH) lines.push(word)
    else lines[lines.length - 1] = `${last} ${word}`
  }
  return lines
}
