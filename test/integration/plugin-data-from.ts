import { execFileSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { parseEnv } from 'node:util'
import t from 'tap'
import type { PodVolume } from '../harness/kubelet/pod-volume.ts'
import { startRealNode } from '../harness/plugin/real-node.ts'
import { until } from '../harness/until.ts'

const node = await startRealNode(t, { args: ['--rotation-interval=200ms'] })
const { vault } = node

async function publish(name: string, spec: object) {
  await node.writeImport(name, { role: 'app', ...spec })
  return node.publish({ importName: name })
}

async function refusal(name: string, spec: object) {
  await node.writeImport(name, { role: 'app', ...spec })
  return node.refusal({ importName: name })
}

/** Numbers as text: JavaScript itself could not write these, nor does KV v2 keep them. */
async function putLiteral(path: string, json: string) {
  const answer = await fetch(`${vault.bao.adminAddress}/v1/${path}`, {
    method: 'POST',
    headers: { 'X-Vault-Token': vault.bao.rootToken },
    body: json,
  })
  t.equal(answer.status, 204)
}

/** Texts with all that shells and readers of env files take for something else. */
const TEXTS = {
  DOLLAR: `$HOME \${HOME} \`id\` $(id)`,
  LINES: 'one\ntwo\n',
  QUOTES: `it's "quoted"`,
  UNICODE: 'ünïcödé 🔑',
  BLANKS: '  a # b  ',
  EMPTY: '',
}

t.test('one file of all keys, read back by the programs that read such files', async (t) => {
  const path = 'kv1/env'
  await putLiteral(
    path,
    `{"BIG":9007199254740993,"NESTED":{"a":[1.10,null]},"NOTHING":null,${JSON.stringify(TEXTS).slice(1)}`,
  )
  const volume = await publish('formats', {
    defaultMode: 0o440,
    dataFrom: [
      { path, format: 'Shell', fileName: 'app.sh', prefix: 'APP_' },
      { path, format: 'Dotenv', fileName: 'app.env', exclude: '^(DOLLAR|LINES)$' },
      { path, format: 'JSON', fileName: 'app.json' },
      { path, format: 'Properties', fileName: 'app.properties', include: '^(BIG|QUOTES|UNICODE)$' },
    ],
  })
  t.strictSame(volume.names().sort(), ['app.env', 'app.json', 'app.properties', 'app.sh'])
  for (const name of volume.names()) t.equal(statSync(volume.path(name)).mode & 0o777, 0o440, name)

  const sourced = environmentAfter(volume.path('app.sh'))
  for (const [key, text] of Object.entries(TEXTS)) t.equal(sourced.get(`APP_${key}`), text, key)
  t.equal(sourced.get('APP_BIG'), '9007199254740993')
  t.equal(sourced.get('APP_NESTED'), '{"a":[1.10,null]}')
  t.notOk(sourced.has('APP_NOTHING'), 'null is no variable')

  const { DOLLAR: _one, LINES: _other, ...fitting } = TEXTS
  t.match(parseEnv(volume.read('app.env')), { ...fitting, BIG: '9007199254740993' })

  const json = volume.read('app.json')
  t.match(json, /^\{"BIG":9007199254740993,/)
  t.match(JSON.parse(json), { ...TEXTS, NESTED: { a: [1.1, null] }, NOTHING: null })

  const properties = volume.read('app.properties')
  t.equal(
    properties,
    `BIG=9007199254740993\nQUOTES=it's "quoted"\nUNICODE=\\u00fcn\\u00efc\\u00f6d\\u00e9 \\ud83d\\udd11\n`,
  )
  await node.unpublish(volume)
})

t.test('a file for each key: include, exclude, prefix', async (t) => {
  await vault.put('many', { app_user: 'u', app_password: 'p', test_user: 't', 'with.dot-and_more': 'x' })
  const path = 'secret/data/many'
  const volume = await publish('chosen', {
    dataFrom: [
      { path, prefix: 'a-', include: '^app_', exclude: 'password$' },
      { path, include: 'dot' },
      { path, prefix: 'none-', include: '^nothing$' },
    ],
  })
  t.strictSame(volume.names().sort(), ['a-app_user', 'with.dot-and_more'])
  t.equal(volume.read('a-app_user'), 'u')
  await node.unpublish(volume)
})

t.test(
  'what cannot be a file, a variable or a line is refused by its name, never by its value',
  async (t) => {
    await vault.put('odd', {
      'sp ace': 'canary-1',
      nul: 'canary-2\0',
      '1st': 'canary-3',
      cr: 'canary-4\'\r"',
    })
    const path = 'secret/data/odd'
    const wishes: [string, object, RegExp][] = [
      ['file', { include: 'ace' }, /key "sp ace" of "secret\/data\/odd" cannot be a file/],
      ['nul', { include: '^nul$', format: 'Shell', fileName: 'f' }, /key "nul" .*holds a NUL character/],
      ['first', { include: '^1', format: 'Shell', fileName: 'f' }, /key "1st" .*name of a shell variable/],
      ['cr', { include: '^cr$', format: 'Dotenv', fileName: 'f' }, /key "cr" of "secret\/data\/odd"/],
    ]
    for (const [name, entry, says] of wishes) {
      const { code, details } = await refusal(`odd-${name}`, { dataFrom: [{ path, ...entry }] })
      t.equal(code, 'FAILED_PRECONDITION')
      t.match(details, says)
      t.match(details, /next: leave it out with dataFrom.exclude, or choose another dataFrom.format/)
      t.notMatch(details, /canary/)
    }
    await vault.put('even', { nul: 'a' })
    const twice = await refusal('twice', {
      dataFrom: [{ path, include: '^nul$' }, { path: 'secret/data/even' }],
    })
    t.match(
      twice.details,
      /two files .*named "nul" \(one of "secret\/data\/odd", one of "secret\/data\/even"\)/,
    )
    const nul = await publish('nul-file', { dataFrom: [{ path, include: '^nul$' }] })
    t.equal(nul.read('nul'), 'canary-2\0', 'a file may hold it')
    await node.unpublish(nul)
  },
)

t.test('a path that is not there: refused, or no file where the import lets it be', async (t) => {
  const dataFrom = [
    { path: 'secret/data/later' },
    { path: 'secret/data/later', format: 'JSON', fileName: 'all' },
  ]
  t.match(await refusal('absent', { dataFrom }), { code: 'NOT_FOUND', details: /nothing is stored at/ })
  const volume = await publish('tolerant', { dataFrom, missingPolicy: 'Ignore' })
  t.strictSame(volume.names(), [])
  await vault.put('later', { user: 'u' })
  await until('the files', () => volume.names().length === 2)
  t.equal(volume.read('all'), '{"user":"u"}')
  await node.unpublish(volume)
})

for (const updateMode of ['Live', 'InPlace', 'Atomic']) {
  t.test(`${updateMode}: keys come and go in Vault, and so do the files`, async (t) => {
    const name = updateMode.toLowerCase()
    await vault.put(name, { stays: 'same', changes: 'old', goes: 'soon' })
    const path = `secret/data/${name}`
    const volume = await publish(name, {
      updateMode,
      files: [{ name: 'fixed', source: { path, key: 'stays' } }],
      dataFrom: [
        { path, prefix: 'key-' },
        { path, format: 'Dotenv', fileName: 'app.env' },
      ],
    })
    t.strictSame(volume.names().sort(), ['app.env', 'fixed', 'key-changes', 'key-goes', 'key-stays'])
    const untouched = ['fixed', 'key-stays']
    const before = untouched.map((file) => stampOf(volume, file))
    await vault.put(name, { stays: 'same', changes: 'new', comes: 'now' })
    await until(
      'the new set',
      () => volume.names().includes('key-comes') && !volume.names().includes('key-goes'),
    )
    t.strictSame(volume.names().sort(), ['app.env', 'fixed', 'key-changes', 'key-comes', 'key-stays'])
    t.equal(volume.read('key-comes'), 'now')
    await until('the changed file', () => volume.read('key-changes') === 'new')
    t.equal(volume.read('app.env'), "changes='new'\ncomes='now'\nstays='same'\n")
    const after = untouched.map((file) => stampOf(volume, file))
    t.strictSame(after, before, 'what stays the same keeps its mtime')
    await node.unpublish(volume)
  })
}

function stampOf(volume: PodVolume, file: string) {
  return [file, volume.read(file), statSync(volume.path(file), { bigint: true }).mtimeNs]
}

/** What a shell's children see after the shell has sourced `file`. */
function environmentAfter(file: string): Map<string, string> {
  const script = '. "$1"; exec env -0'
  const text = execFileSync('sh', ['-c', script, 'sh', file], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH },
  })
  const pairs = text.split('\0').map((line): [string, string] => {
    const at = line.indexOf('=')
    return [line.slice(0, at), line.slice(at + 1)]
  })
  return new Map(pairs)
}
