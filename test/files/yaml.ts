import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { parseYaml, readYamlFile } from '../../src/files/yaml.ts'

/** Value of `a` in a one-line document. */
function read(text: string): unknown {
  const [document] = parseYaml(`a: ${text}`)
  return document && 'value' in document ? (document.value as { a: unknown }).a : document
}

// Each of these was put through sigs.k8s.io/yaml v1.6.0, which kubectl uses.
for (const [text, value] of [
  ['0644', 0o644],
  ['0400', 0o400],
  ['00644', 0o644],
  ['0o644', 0o644],
  ['0O644', 0o644],
  ['0_644', 0o644],
  ['"0644"', '0644'],
  ['08', 8],
  ['0x1F', 31],
  ['0b11', 3],
  ['1_000', 1000],
  ['644', 644],
  ['yes', true],
  ['on', true],
  ['y', true],
  ['Y', true],
  ['TRUE', true],
  ['no', false],
  ['off', false],
  ['n', false],
  ['"yes"', 'yes'],
  ['1:30', '1:30'],
  ['190:20:30', '190:20:30'],
  ['190:20:30.15', '190:20:30.15'],
  ['2001-12-14', '2001-12-14'],
  ['2001-12-14t21:59:43.10-05:00', '2001-12-14t21:59:43.10-05:00'],
  ['2m', '2m'],
  ['1.5', 1.5],
  ['1e3', 1000],
  ['NULL', null],
  ['~', null],
  ['=', '='],
  ['!!str 0644', '0644'],
] as const) {
  t.test(`${text} is read as kubectl reads it`, async (t) => t.strictSame(read(text), value))
}

t.test('keys and merges are read as kubectl reads them', async (t) => {
  t.same(parseYaml('yes: 1\n0644: 2\n'), [{ value: { true: 1, 420: 2 } }])
  t.same(parseYaml('a: &x {b: 1}\nc: {<<: *x, d: 2}\n'), [{ value: { a: { b: 1 }, c: { b: 1, d: 2 } } }])
  t.same(parseYaml('{"a": 0644, "b": [1]}'), [{ value: { a: 0o644, b: [1] } }])
})

t.test('a stream is its documents, those without content left out', async (t) => {
  t.same(parseYaml('---\na: 1\n---\n# nothing\n---\nb: 2\n'), [{ value: { a: 1 } }, { value: { b: 2 } }])
  t.same(parseYaml(''), [])
  t.same(parseYaml('# only words\n'), [])
})

t.test('a parse fault has line and column, and no quote', async (t) => {
  for (const [text, fault] of [
    ['a: 1\na: canary\n', 'line 2, column 1: duplicate key'],
    ['canary: [1, 2\n', /^line 2, column 1: /],
    ['a: "canary\n', /^line \d+, column \d+: /],
    ['\tcanary: 1\n', /^line 1, column 1: /],
    ['a: *canary\n', /alias/],
  ] as const) {
    const [document] = parseYaml(text)
    t.match(document, { fault })
    t.notMatch(JSON.stringify(document), 'canary')
  }
})

t.test('aliases that multiply without bound are a fault', async (t) => {
  const rows = Array.from(
    { length: 12 },
    (_, n) => `a${n + 1}: &a${n + 1} [${Array(9).fill(`*a${n}`).join(', ')}]`,
  )
  t.match(parseYaml(['a0: &a0 [x]', ...rows].join('\n')), [{ fault: /aliases/ }])
})

t.test('a settings file is one document or none', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'yaml-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'settings.yaml')
  writeFileSync(path, 'vault-qps: 7\n')
  t.same(readYamlFile(path), { 'vault-qps': 7 })
  writeFileSync(path, '# none\n')
  t.equal(readYamlFile(path), undefined)
  writeFileSync(path, 'a: 1\n---\nb: 1\n')
  t.throws(() => readYamlFile(path), { message: 'holds more than one document' })
  writeFileSync(path, 'a: [\n')
  t.throws(() => readYamlFile(path), { message: /^line 2, column 1: / })
  t.throws(() => readYamlFile(join(directory, 'none')), { code: 'ENOENT' })
})
