import t from 'tap'
import {
  isJsonNumber,
  isJsonObject,
  jsonToNumber,
  parseJson,
  stringifyJson,
} from '../../../src/core/json/json.ts'

/** The result must equal that of JSON.parse, numbers aside. */
const texts = [
  'null',
  ' true ',
  'false',
  '""',
  '"a"',
  '{}',
  '[]',
  ' { } ',
  '[ [ ] , { } ]',
  '\t[\r\n1 ,\t2 ]\n',
  '{"a":{"b":[1,{"c":null}]},"":""}',
  '{"a" : "x" , "b" : [ true , false , null ] }',
  String.raw`"\"\\\/\b\f\n\r\té😀"`,
  String.raw`["\\","\\\"","\\\\",""]`,
  String.raw`{"\"":"\\"}`,
  '"ü😀\u2028 [1,2]{:"',
  '{"10":"ten","2":"two","b":0,"a":0}',
  '{"twice":1,"twice":2}',
]

t.test('gives the same value as JSON.parse', async (t) => {
  for (const text of texts)
    t.strictSame(JSON.parse(stringifyJson(parseJson(text))), JSON.parse(text), encodeURIComponent(text))
})

t.test('numbers keep their literal text', async (t) => {
  const literals =
    '0 -0 1 -1 1.10 1e2 1E+2 -1.5e-7 9007199254740993 90071992547409931234 1e400 0.1 12345'.split(' ')
  for (const literal of literals) {
    t.equal(stringifyJson(parseJson(literal)), literal)
    t.ok(isJsonNumber(parseJson(literal)))
    for (const text of [`[${literal},${literal}]`, `{"a":${literal},"b":${literal}}`])
      t.equal(stringifyJson(parseJson(text)), text)
  }
  t.equal(jsonToNumber(parseJson('1e2')), 100)
})

t.test('__proto__ is an ordinary key', async (t) => {
  const value = parseJson('{"__proto__":{"isAdmin":true},"constructor":1}')
  t.ok(isJsonObject(value))
  t.equal(Object.getPrototypeOf(value), Object.prototype)
  t.strictSame(Object.keys(value as object), ['__proto__', 'constructor'])
})

t.test('refuses the same texts as JSON.parse', async (t) => {
  const broken = [
    '',
    ' ',
    '{',
    '[1,]',
    '{"a":1,}',
    '01',
    '1.',
    '+1',
    '"',
    '"\t"',
    '"\\x"',
    'nul',
    '1 2',
    '{a:1}',
    "'a'",
    '[1}',
  ]
  for (const text of broken) t.throws(() => parseJson(text), SyntaxError, encodeURIComponent(text))
})

t.test('the largest accepted body from Vault does not block the process', async (t) => {
  const items = { small: '1', odd: '-0', pointed: '1.10', objects: '{"a":1}', strings: '"\\""' }
  for (const [name, item] of Object.entries(items)) {
    const text = `[${Array(Math.floor((8 << 20) / (item.length + 1)))
      .fill(item)
      .join(',')}]`
    // The thread's own time: the machine may be busy. A reviver took 4,200 ms for small numbers; this takes 220.
    const before = process.threadCpuUsage()
    parseJson(text)
    const tookMs = process.threadCpuUsage(before).user / 1000
    t.ok(tookMs < 2_000, `${name}: ${Math.round(tookMs)} ms`)
  }
})
