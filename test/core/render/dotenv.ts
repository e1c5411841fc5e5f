import { parseEnv } from 'node:util'
import t from 'tap'
import { dotenvJson, dotenvLine } from '../../../src/core/render/dotenv.ts'
import { seeded, trickyText } from '../../harness/random.ts'

/** The line, or undefined when it is refused. */
function lineOf(key: string, value: string): string | undefined {
  const line = dotenvLine(key, value)
  return 'line' in line ? line.line : undefined
}

/** As in a file, with lines before and after that a bad quote would swallow. */
function nodeReads(line: string): NodeJS.Dict<string> {
  return parseEnv(`FIRST='1'\n${line}\nLAST='2'\n`)
}

const usual: [string, string][] = [
  ['', "''"],
  ['plain', "'plain'"],
  ['  both ends  ', "'  both ends  '"],
  ['a#b #c', "'a#b #c'"],
  ['say "hi" `now`', `'say "hi" \`now\`'`],
  ['$HOME $(id)', "'$HOME $(id)'"],
  ['C:\\dir\\n', "'C:\\dir\\n'"],
  ['line\nline\n', "'line\nline\n'"],
  ['\n#no comment\nA=b', "'\n#no comment\nA=b'"],
  ["it's", `"it's"`],
  ["it's\ntwo #", `"it's\ntwo #"`],
  [`he's "it"`, `he's "it"`],
  ['😀 漢 é', "'😀 漢 é'"],
]

t.test('values get quotes that all readers treat alike, and Node reads them back', async (t) => {
  for (const [value, written] of usual) {
    t.equal(lineOf('KEY', value), `KEY=${written}`)
    t.strictSame({ ...nodeReads(`KEY=${written}`) }, { FIRST: '1', KEY: value, LAST: '2' })
  }
})

t.test('a name may hold dots', async (t) => {
  t.strictSame({ ...nodeReads(lineOf('spring.datasource.url', 'x') ?? '') }['spring.datasource.url'], 'x')
})

/** Rules of python-dotenv, Compose and Ruby's dotenv for the three notations, taken from their sources. */
const readers: Record<string, (written: string) => string | undefined> = {
  'python-dotenv': (written) => {
    const single = /^'((?:\\'|[^'])*)'$/s.exec(written)?.[1]
    const double = /^"((?:\\"|[^"])*)"$/s.exec(written)?.[1]
    const bare = written.split(/\s+#/)[0]?.trimEnd()
    const text =
      single?.replaceAll(/\\([\\'])/g, '$1') ??
      double?.replaceAll(/\\([\\'"abfnrtv])/g, '?') ??
      (written.startsWith("'") || written.includes('\n') ? undefined : bare)
    return text?.replaceAll(/\$\{[^}]*\}/g, '?')
  },
  'Docker Compose': (written) => {
    const single = /^'((?:\\.|[^'\\])*)'$/s.exec(written)?.[1]
    const double = /^"((?:\\.|[^"\\])*)"$/s.exec(written)?.[1]
    if (single !== undefined) return single.replaceAll("\\'", "'")
    if (double !== undefined) return double.replaceAll(/\\.|\$/gs, '?')
    return /^['"]|\n/.test(written) ? undefined : written.split(' #')[0]?.trimEnd().replaceAll('$', '?')
  },
  "Ruby's dotenv": (written) => {
    const text = written.replaceAll(/\r\n?/g, '\n')
    const single = /^'((?:\\'|[^'])*)'$/s.exec(text)?.[1]
    const double = /^"((?:\\"|[^"])*)"$/s.exec(text)?.[1]
    const bare = /^[^'"#\n][^#\n]*$/.test(text) ? text.trim() : undefined
    return single ?? (double ?? bare)?.replaceAll(/\\(.)/gs, '$1').replaceAll(/\$[({\w]/g, '?')
  },
}

t.test('the rules of the other readers give the same value whenever it is accepted', async (t) => {
  const random = seeded(7)
  const values = [...usual.map(([value]) => value), ...Array.from({ length: 600 }, () => trickyText(random))]
  let written = 0
  for (const value of values) {
    const line = lineOf('KEY', value)
    if (line === undefined) continue
    written++
    t.strictSame({ ...nodeReads(line) }, { FIRST: '1', KEY: value, LAST: '2' })
    for (const [name, read] of Object.entries(readers)) {
      // As names of assertions, such texts would be parsed as TAP.
      if (read(line.slice(4)) !== value) t.fail(`${name}: ${JSON.stringify(line)}`)
    }
  }
  t.ok(written > 250, `${written} of ${values.length} are written, the others refused`)
})

t.test('JSON can always be written, and is the same JSON', async (t) => {
  const random = seeded(5)
  for (let round = 0; round < 200; round++) {
    const value = { [trickyText(random)]: [trickyText(random), trickyText(random)], n: 1 }
    const line = lineOf('KEY', dotenvJson(JSON.stringify(value)))
    if (line === undefined) t.fail(`refused: ${JSON.stringify(value)}`)
    t.strictSame(JSON.parse(nodeReads(line ?? '').KEY ?? ''), value)
    for (const read of Object.values(readers))
      t.strictSame(JSON.parse(read(line?.slice(4) ?? '') ?? ''), value)
  }
})

/** The short form as patterns: quadratic in the length of the value. */
function quotedByPatterns(text: string): string | undefined {
  if (/\r|\$\{[^}]*\}/.test(text)) return undefined
  if (!/'|\\\\|\\$/.test(text)) return `'${text}'`
  if (!/["\\$]/.test(text)) return `"${text}"`
  return /^[^\s'"`#$\\][^\n#$\\]*$/.test(text) && !/\s$/.test(text) ? text : undefined
}

t.test('quotes exactly as the short form with patterns', async (t) => {
  const random = seeded(11)
  for (let round = 0; round < 20_000; round++) {
    const text = trickyText(random)
    const line = text.includes('\0') ? undefined : lineOf('KEY', text)
    const wanted = text.includes('\0') ? undefined : quotedByPatterns(text)
    if (line !== (wanted === undefined ? undefined : `KEY=${wanted}`)) t.fail(JSON.stringify(text))
  }
})

for (const unit of ['${', '${a', '}', "'", '"', '\\', ' ', '\n', `'"`, 'a ', '$', '#']) {
  t.test(`a megabyte of ${JSON.stringify(unit)} is checked in one pass`, async (t) => {
    for (const value of [
      unit.repeat(1_000_000 / unit.length),
      `a'"${unit.repeat(1_000_000 / unit.length)}b`,
    ]) {
      const before = process.threadCpuUsage()
      dotenvLine('KEY', value)
      dotenvLine(value, 'value')
      const { user, system } = process.threadCpuUsage(before)
      t.ok((user + system) / 1000 < 100, `${(user + system) / 1000} ms of CPU`)
    }
  })
}
