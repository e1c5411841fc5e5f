import t from 'tap'
import { readCall } from '../../../src/core/imports/calls.ts'
import type { DataFromSpec } from '../../../src/core/imports/import.ts'
import { renderDataFrom } from '../../../src/core/render/data-from.ts'
import { faultOf, secretOf } from '../../harness/specs.ts'

function filesOf(json: string, changes: Partial<DataFromSpec> = {}): [string, string][] {
  const entry: DataFromSpec = {
    call: readCall('secret/data/app'),
    prefix: '',
    include: undefined,
    exclude: undefined,
    format: 'Files',
    fileName: undefined,
    ...changes,
  }
  return renderDataFrom(entry, secretOf(json)).map(({ name, content }) => [name, content.reveal().toString()])
}

/** The one file's text. */
function textOf(json: string, format: DataFromSpec['format'], changes: Partial<DataFromSpec> = {}): string {
  const [file] = filesOf(json, { format, fileName: 'f', ...changes })
  return file?.[1] ?? ''
}

t.test('a file per key, sorted by key, strings raw and other values as JSON', async (t) => {
  t.strictSame(filesOf('{"b":"x\\n","a":1.10,"B":{"k": [9007199254740993]},"10":true,"9":"","z":null}'), [
    ['10', 'true'],
    ['9', ''],
    ['B', '{"k":[9007199254740993]}'],
    ['a', '1.10'],
    ['b', 'x\n'],
  ])
})

t.test('keys are matched without the prefix', async (t) => {
  const chosen = filesOf('{"A":"1","B":"2","C":"3","app_D":"4"}', {
    include: '^[A-Z]$',
    exclude: '^C$',
    prefix: 'app_',
  })
  t.strictSame(chosen, [
    ['app_A', '1'],
    ['app_B', '2'],
  ])
  t.strictSame(filesOf('{"a":"1"}', { include: '^b' }), [])
  t.strictSame(filesOf('{"ключ":"1","a":"2"}', { exclude: '^\\p{Script=Cyrillic}+$' }), [['a', '2']])
})

t.test('a key that is not a valid file name is reported with its path and a next step', async (t) => {
  for (const key of ['a/b', 'a b', '', '.', '..', '..data', 'é', 'a\n', 'x'.repeat(256)]) {
    const error = faultOf(() => filesOf(JSON.stringify({ [key]: 'canary' })))
    t.match(error, { fault: 'key_unusable', facts: { key, path: 'secret/data/app' } })
    t.match(error.message, /next: leave it out with dataFrom\.exclude, or choose another dataFrom\.format/)
    t.notMatch(error.message, /canary/)
  }
  t.strictSame(filesOf('{"..a":"1"}', { prefix: 'x' }), [['x..a', '1']], 'the name with its prefix counts')
  t.equal(faultOf(() => filesOf('{"a":"1"}', { prefix: '..' })).fault, 'key_unusable')
  t.strictSame(filesOf('{"a/b":null}'), [], 'a key that makes no file may be called anything')
})

t.test('JSON contains every value unchanged, null too', async (t) => {
  const text = '{"10":1.0,"9":null,"__proto__":"p","a":{"b":[1e400,"\\u2028"]},"ключ":"x"}'
  t.equal(textOf(text, 'JSON'), text.replace('\\u2028', '\u2028'))
  t.equal(textOf('{}', 'JSON'), '{}')
  t.equal(textOf('{"a":"1"}', 'JSON', { prefix: 'x-' }), '{"x-a":"1"}')
})

t.test('the order of keys in the response does not matter', async (t) => {
  for (const format of ['JSON', 'Dotenv', 'Shell', 'Properties'] as const) {
    t.equal(textOf('{"b":"1","a":"2"}', format), textOf('{"a":"2","b":"1"}', format))
  }
})

t.test('line formats omit null and write other values than strings as JSON', async (t) => {
  const json = '{"N":null,"A":1.10,"B":{"k":"it\'s"},"C":false,"D":""}'
  t.equal(
    textOf(json, 'Shell'),
    `export A='1.10'\nexport B='{"k":"it'\\''s"}'\nexport C='false'\nexport D=''\n`,
  )
  t.equal(textOf(json, 'Dotenv'), `A='1.10'\nB='{"k":"it\\u0027s"}'\nC='false'\nD=''\n`)
  t.equal(textOf(json, 'Properties'), `A=1.10\nB={"k"\\:"it's"}\nC=false\nD=\n`)
  for (const format of ['Dotenv', 'Shell', 'Properties'] as const) t.equal(textOf('{}', format), '')
})

t.test('keys that are not valid names in the format are refused and named', async (t) => {
  for (const [format, key] of [
    ['Shell', 'a-b'],
    ['Shell', 'a.b'],
    ['Shell', '1a'],
    ['Shell', ''],
    ['Shell', 'a\nb'],
    ['Shell', 'a;id'],
    ['Shell', 'é'],
    ['Dotenv', 'a-b'],
    ['Dotenv', '1a'],
    ['Dotenv', 'a=b'],
    ['Dotenv', '#a'],
  ] as const) {
    const error = faultOf(() => textOf(JSON.stringify({ ok: '1', [key]: 'canary' }), format))
    t.match(error, { fault: 'key_unusable', facts: { key } }, `${format} ${key}`)
    t.match(error.message, `choose another dataFrom.format than ${format}`)
    t.notMatch(error.message, /canary/)
  }
})

t.test('a value that the format cannot express is refused, naming only its key', async (t) => {
  for (const [format, value] of [
    ['Shell', 'canary\0'],
    ['Dotenv', 'canary\0'],
    ['Dotenv', 'canary\r\n'],
    ['Dotenv', `\${canary}`],
    ['Dotenv', 'canary\\\\'],
    ['Dotenv', 'canary\\'],
    ['Dotenv', `can'ary"#`],
    ['Dotenv', `can'ary$`],
  ] as const) {
    const error = faultOf(() => textOf(JSON.stringify({ KEY: value }), format))
    t.match(error, { fault: 'key_unusable', facts: { key: 'KEY' } }, `${format} ${JSON.stringify(value)}`)
    t.notMatch(error.message, /canary|can'ary/)
  }
})
