import { readFileSync } from 'node:fs'
import type { Config } from '../core/settings/config.ts'
import { parseConfig } from '../core/settings/parse-config.ts'
import { readYamlFile } from '../files/yaml.ts'

/** What a shell and kubelet take for "called wrongly". */
const EXIT_USAGE = 2

/** Settings of this process, or the end of it: --help and --version print and exit 0, faults exit 2. */
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

/** From package.json, which stands beside src and dist alike. */
export function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
