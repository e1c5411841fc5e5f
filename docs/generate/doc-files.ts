import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../../deploy/generate/deploy-files.ts'
import type { Fault } from '../../src/core/faults/facts.ts'
import { explain } from '../../src/core/faults/message.ts'
import { settingsTable } from '../../src/core/settings/help.ts'
import { faultSamples } from './fault-samples.ts'

export const faults = Object.keys(faultSamples) as Fault[]

const SETTINGS = `# Settings

Generated from src/core/settings/settings.ts by \`npm run docs\`: change that file, not this one.

A flag overrides its environment variable, which overrides the file of \`--config FILE\` (\`VAULT_FILES_CONFIG\`), which
overrides the default. The file is YAML; its keys are the flags without dashes in front (\`vault-addr: https://…\`). Durations:
\`30s\`, \`2m\`, \`1m30s\`. Sizes: \`4Mi\`, \`512Ki\`, plain bytes. Switches: \`--allow-http\` or \`--allow-http=false\`.
All faults are reported together, each with its setting, and the program exits with code 2.

The [Helm chart](install.md) has values for the settings that an installation usually needs; \`extraArgs\` takes the
others.

`

/** Documentation that is generated from the source, as a whole or in part; by path from the repository's root. */
export function docFiles(): Map<string, string> {
  return new Map([
    ['docs/admins/settings.md', SETTINGS + settingsTable()],
    ['docs/app-teams/troubleshooting.md', withMessages(readDoc('docs/app-teams/troubleshooting.md'))],
  ])
}

export function readDoc(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}

/** Puts the message of each fault, as users see it, under the heading of the fault. */
function withMessages(text: string): string {
  return text.replaceAll(/^### `(\w+)`\n\n```text\n.*?^```$/gms, (section, name: string) => {
    const fault = faults.find((known) => known === name)
    if (fault === undefined) return section
    return `### \`${fault}\`\n\n\`\`\`text\n${explain(fault, faultSamples[fault])}\n\`\`\``
  })
}
