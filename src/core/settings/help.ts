import type { Config } from './config.ts'
import { environmentName, flagName, settingNames, settings } from './settings.ts'

const WIDTH = 100

/** The text of --help: every setting with its meaning, default and environment variable. */
export function helpText(): string {
  return [
    'vault-files-csi: mounts secrets of Vault or OpenBao as live files into pods',
    '',
    'usage: vault-files-csi [flags]',
    '       vault-files-csi doctor [flags]   checks an installation, see vault-files-csi doctor --help',
    '       vault-files-csi convert [FILE]   turns manifests of other systems into ours, see convert --help',
    '',
    'A flag wins over its environment variable, that over the file of --config, that over the default.',
    'The file is YAML; its keys are the flags without dashes in front (vault-addr: https://…).',
    'Durations: 30s, 2m, 1m30s. Sizes: 4Mi, 512Ki, plain bytes. Switches: --allow-http or --allow-http=false.',
    '',
    entry('--config FILE', 'Settings file.', 'none', 'VAULT_FILES_CONFIG'),
    ...settingNames.map((name) =>
      entry(usage(name), settings[name].meaning, defaultShown(name), environmentName(name)),
    ),
    entry('-h, --help', 'This text.'),
    entry('--version', 'The version.'),
    '',
  ].join('\n')
}

/** The same as rows of a Markdown table, for the docs. */
export function settingsTable(): string {
  const rows = settingNames.map((name) => {
    const cells = [
      `\`${usage(name)}\``,
      `\`${environmentName(name)}\``,
      defaultShown(name),
      settings[name].meaning,
    ]
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  })
  return ['| flag | environment | default | meaning |', '|---|---|---|---|', ...rows, ''].join('\n')
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

function entry(title: string, meaning: string, fallback?: string, variable?: string): string {
  const facts = [fallback && `Default: ${fallback}.`, variable && `Environment: ${variable}.`]
    .filter(Boolean)
    .join(' ')
  const lines = [...wrap(meaning), ...(facts ? wrap(facts) : [])]
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
