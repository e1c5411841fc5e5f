import { existsSync, globSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { ROOT } from '../../deploy/generate/deploy-files.ts'
import { docFiles, faults, readDoc } from '../../docs/generate/doc-files.ts'

t.test('generated pages match the source', async (t) => {
  for (const [path, text] of docFiles()) t.equal(readDoc(path), text, `${path}: run npm run docs`)
})

t.test('every fault has a section with message, cause and remedy', async (t) => {
  const text = readDoc('docs/app-teams/troubleshooting.md')
  const sections = new Map<string, string>()
  for (const section of text.split(/^##+ /m)) {
    const [, name, body = ''] = /^`(\w+)`\n(.*)$/s.exec(section) ?? []
    if (name !== undefined) sections.set(name, body)
  }
  for (const fault of faults) {
    const section = sections.get(fault) ?? ''
    t.match(section, /```text\n.+\n```/, `${fault}: message`)
    t.match(section, /^\*\*Cause\.\*\* ./m, `${fault}: cause`)
    t.match(section, /^\*\*What to do\.\*\* ./m, `${fault}: what to do`)
  }
  t.strictSame([...sections.keys()].sort(), [...faults].sort(), 'and no section is left for a removed fault')
})

const pages = globSync('{*,docs/**/*}.md', { cwd: ROOT })

t.test('relative links lead to existing files and headings', async (t) => {
  for (const page of pages) {
    for (const [, target = ''] of readDoc(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue
      const [file = '', heading] = target.split('#')
      const path = file === '' ? page : join(dirname(page), file)
      t.ok(existsSync(join(ROOT, path)), `${page}: ${target}`)
      if (heading !== undefined) t.ok(anchors(readDoc(path)).includes(heading), `${page}: ${target}`)
    }
  }
})

function anchors(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  )
}
