import { globSync } from 'node:fs'
import t from 'tap'
import { ROOT } from '../../deploy/generate/deploy-files.ts'
import { readDoc } from '../../docs/generate/doc-files.ts'
import { convertHelp } from '../../src/commands/convert/arguments.ts'
import { doctorHelp } from '../../src/commands/doctor/arguments.ts'
import { helpText } from '../../src/core/settings/help.ts'

/** Of each command: its help, the page that explains it, and whose flags it takes beside its own. */
const commands = {
  doctor: { help: doctorHelp, page: 'docs/doctor.md', taken: helpText() },
  convert: { help: convertHelp, page: 'docs/migration.md', taken: '' },
}

const pages = ['README.md', ...globSync('docs/**/*.md', { cwd: ROOT })]

for (const [command, { help, page, taken }] of Object.entries(commands)) {
  t.test(`--help names ${command}, whose own flags are on its page`, async (t) => {
    t.match(helpText(), new RegExp(`^ +vault-files-csi ${command} `, 'm'))
    const own = [...help.matchAll(/^ {2}(--[a-z-]+)(?: [A-Z/]+)?$/gm)].map(([, flag = '']) => flag)
    t.ok(own.length > 0)
    for (const flag of own) t.ok(readDoc(page).includes(flag), flag)
  })

  t.test(`the docs give ${command} no flag that it does not know`, async (t) => {
    const known = new Set(`${help}${taken}`.match(/--[a-z-]+/g))
    const given = pages.flatMap((name) => calls(readDoc(name), command).map((call) => ({ name, call })))
    t.ok(given.length > 1)
    for (const { name, call } of given) {
      for (const flag of call.match(/(?<= )--[a-z][a-z-]+/g) ?? []) t.ok(known.has(flag), `${name}: ${flag}`)
    }
  })
}

/** From the command's name to the end of the line, of the lines that go on, or of the code. */
function calls(text: string, command: string): string[] {
  const lines = text.replaceAll(/\\\n/g, ' ')
  return [...lines.matchAll(new RegExp(`\\b${command}( [^\\n|\`]*)`, 'g'))]
    .filter(({ index }) => /(vault-files-csi|main\.js|main\.ts) $/.test(lines.slice(0, index)))
    .map(([call]) => call)
}
