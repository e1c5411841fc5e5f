import { readFileSync } from 'node:fs'
import type { Config } from '../core/settings/config.ts'
import { parseConfig } from '../core/settings/parse-config.ts'
import { readYamlFile } from '../files/yaml.ts'

/** The usual exit code for wrong usage. */
const EXIT_USAGE = 2

/** The settings of this process. Exits for --help and --version (0) and for faults (2). */
export function parseArguments(): Config {
  const parsed = parseConfig({
    argv: process.argv.slice(2),
    env: process.env,
    readFile: readYamlFile,
    isTTY: process.stdout.isTTY === true,
  })
  if ('config' in parsed) return parsed.config
  if ('help' in parsed) {
    process.stdout.write(parsed.help)
    process.exit(0)
  }
  if ('version' in parsed) {
    process.stdout.write(`${version()}\n`)
    process.exit(0)
  }
  for (const fault of parsed.faults) process.stderr.write(`vault-files-csi: ${fault}\n`)
  process.stderr.write('vault-files-csi: see --help\n')
  process.exit(EXIT_USAGE)
}

/** From package.json, which is beside both src and dist. */
export function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
