import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t from 'tap'

const root = resolve(import.meta.dirname, '..')

/** Words of a name: `setHoldings` is set, holdings; `MAX_KEYS` is max, keys. */
function wordsIn(name: string): string[] {
  return name.match(/[A-Z]+(?![a-z])|[A-Z]?[a-z]+/g)?.map((word) => word.toLowerCase()) ?? []
}

/** Names in code font in the right column of docs/glossary.md, each as its words. */
function forbiddenNames(): string[][] {
  const rows = readFileSync(join(root, 'docs/glossary.md'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| '))
  const names = rows.flatMap((row) => [...(row.split('|')[3] ?? '').matchAll(/`(\w+)`/g)])
  return names.map(([, name = '']) => wordsIn(name))
}

/** Names declared by `export`, by file below src. */
function exportedNames(): [file: string, name: string][] {
  const src = join(root, 'src')
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
  return files.flatMap((file) => {
    const text = readFileSync(join(src, file), 'utf8')
    const declared = text.matchAll(
      /^export (?:declare |abstract |async )*(?:const|let|function\*?|class|type|interface|enum) (\w+)/gm,
    )
    return [...declared].map(([, name = '']): [string, string] => [file, name])
  })
}

/** Whether the words stand in a row in the name; the last one may be plural. */
function contains(name: string, forbidden: readonly string[]): boolean {
  const text = ` ${wordsIn(name).join(' ')} `
  const sequence = forbidden.join(' ')
  return text.includes(` ${sequence} `) || text.includes(` ${sequence}s `)
}

t.test("0 exported names of the glossary's right column", async (t) => {
  const forbidden = forbiddenNames()
  const exported = exportedNames()
  t.ok(forbidden.length > 20, 'the table is read')
  t.ok(exported.length > 500, 'the exports are read')
  const found = exported.filter(([, name]) => forbidden.some((words) => contains(name, words)))
  t.strictSame(
    found.map(([file, name]) => `${file}: ${name}`),
    [],
  )
})

t.test('a name is compared by its words', async (t) => {
  t.ok(contains('setHoldings', ['holding']))
  t.ok(contains('createSightings', ['sighting']))
  t.ok(contains('isInStep', ['in', 'step']))
  t.notOk(contains('LOOKUP_PATHS', ['look']))
  t.notOk(contains('withholding', ['holding']))
})
