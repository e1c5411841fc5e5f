import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseAllDocuments, stringify } from 'yaml'
import { parseImport } from '../../../src/core/imports/import.ts'
import { convertText } from '../../harness/commands/convert-bench.ts'

const ROUNDS = 150
const folder = join(import.meta.dirname, 'golden')
const junk = [
  null,
  7,
  true,
  '',
  'x y',
  [],
  {},
  ['a'],
  { a: 1 },
  'vault:',
  'é#{{',
  [null],
  -1,
  'a/../b',
  '0644',
  'on',
]

/** Numbers in [0, 1), the same in every run. */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    return state / 0x80000000
  }
}

/** The value with a few of its members removed, or replaced by junk. */
function damage(value: unknown, random: () => number): unknown {
  if (random() < 0.02) return junk[Math.floor(random() * junk.length)]
  if (Array.isArray(value)) return value.filter(() => random() > 0.02).map((item) => damage(item, random))
  if (typeof value !== 'object' || value === null) return value
  const kept = Object.entries(value).filter(() => random() > 0.02)
  return Object.fromEntries(kept.map(([name, member]) => [name, damage(member, random)]))
}

t.test('damaged manifests result in an import, a comment or a message', async (t) => {
  const inputs = readdirSync(folder)
    .filter((file) => file.includes('.input.'))
    .map((file) => parseAllDocuments(readFileSync(join(folder, file), 'utf8'), { version: '1.1' }))
  const random = createRandom(3)
  let converted = 0
  for (let round = 0; round < ROUNDS; round++) {
    const documents = inputs[round % inputs.length] ?? []
    const text = documents
      .map((document) => stringify(damage(document.toJS(), random), { version: '1.1' }))
      .join('---\n')
    const { code, output, errors } = convertText(text)
    t.not(errors, '', 'it reports something')
    if (code === 0) converted++
    for (const document of parseAllDocuments(output, { version: '1.1' })) {
      t.same(document.errors, [])
      const manifest = document.toJS()
      if (manifest?.kind !== 'SecretsStoreImport') continue
      const parsed = parseImport({ ...manifest, metadata: { namespace: 'default', ...manifest.metadata } })
      const isNoted = /# to do: (spec|metadata)/.test(output)
      t.ok('spec' in parsed || isNoted, `round ${round}: a fault of the import has a comment`)
    }
  }
  t.ok(converted > ROUNDS / 3, 'many are still converted')
})
