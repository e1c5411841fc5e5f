import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startRealNode } from '../harness/plugin/real-node.ts'
import { until } from '../harness/until.ts'

const node = await startRealNode(t, { args: ['--rotation-interval=200ms'] })
const { admin } = node.vault
const RANDOM = 'sys/tools/random/16'
const HASH = 'sys/tools/hash/sha2-256'
// Two calls of every Vault: one answers otherwise each time, the other by what it is sent.
await admin.write('sys/policies/acl/tools', {
  policy: `path "sys/tools/*" { capabilities = ["update"] }`,
})
await node.vault.writeRole('tools', { token_policies: 'app,tools' })
await node.vault.put('db', { user: 'ada', password: 'p@ss w/rd', 'api-key': 'k1' })
await node.vault.put('app', {
  host: 'db.example.org',
  port: 5432,
  binary: Buffer.from([0, 255]).toString('base64'),
})

async function publish(name: string, spec: object) {
  await node.writeImport(name, { role: 'tools', ...spec })
  return node.publish({ importName: name })
}

async function refusal(name: string, spec: object) {
  await node.writeImport(name, { role: 'tools', ...spec })
  return node.refusal({ importName: name })
}

const callsOf = (path: string) =>
  node.front.requests.filter((request) => request.path.startsWith(path) && request.status < 300)
const hashOf = (text: string) => createHash('sha256').update(text).digest('hex')
const hashing = (name: string, text: string) => ({
  name,
  path: HASH,
  method: 'POST',
  data: { input: Buffer.from(text).toString('base64'), format: 'hex' },
})
const randomFile = (name: string, ref: string, more: object = {}) => ({
  name,
  source: { ref, key: 'random_bytes' },
  ...more,
})

t.test('files of one source share one call, which the clock never repeats', async (t) => {
  const before = callsOf(RANDOM).length
  const spec = {
    sources: [{ name: 'once', path: RANDOM, method: 'PUT', data: { format: 'base64' } }],
    files: [
      randomFile('text', 'once'),
      randomFile('bytes', 'once', { decodeBase64: true, mode: 0o400 }),
      { name: 'line', source: { ref: 'once' }, template: 'got {{ random_bytes }} {{ once.random_bytes }}' },
    ],
    defaultMode: 0o440,
  }
  const volume = await publish('once', spec)
  const text = volume.read('text')
  t.equal(callsOf(RANDOM).length, before + 1)
  t.equal(callsOf(RANDOM).at(-1)?.method, 'PUT')
  t.equal(Buffer.from(text, 'base64').length, 16)
  t.equal(statSync(volume.path('bytes')).size, 16)
  t.equal(volume.read('line'), `got ${text} ${text}`)
  const modes = ['text', 'bytes', 'line'].map((name) => statSync(volume.path(name)).mode & 0o777)
  t.strictSame(modes, [0o440, 0o400, 0o440])

  const other = await publish('once', spec)
  t.not(other.read('text'), text, 'each pod has its own')
  await sleep(800)
  t.equal(callsOf(RANDOM).length, before + 2)
  t.equal(volume.read('text'), text)
  await node.unpublish(volume)
  await node.unpublish(other)
})

t.test(
  'calls that send different data never share an answer, nor do two sources that say the same',
  async (t) => {
    const volume = await publish('apart', {
      sources: [
        hashing('one', 'one'),
        hashing('two', 'two'),
        { name: 'first', path: RANDOM, method: 'POST' },
        { name: 'second', path: RANDOM, method: 'POST' },
      ],
      files: [
        { name: 'one', source: { ref: 'one', key: 'sum' } },
        { name: 'two', source: { ref: 'two', key: 'sum' } },
        randomFile('first', 'first'),
        randomFile('second', 'second'),
      ],
    })
    t.equal(volume.read('one'), hashOf('one'))
    t.equal(volume.read('two'), hashOf('two'))
    t.not(volume.read('first'), volume.read('second'))
    await node.writeImport('apart', {
      role: 'tools',
      sources: [hashing('one', 'another')],
      files: [{ name: 'one', source: { ref: 'one', key: 'sum' } }],
    })
    await until('the answer to the edited call', () => volume.read('one') === hashOf('another'))
    t.strictSame(volume.names(), ['one'])
    await node.unpublish(volume)
  },
)

t.test('a call that the policy or the engine refuses says which right or what data', async (t) => {
  const spec = {
    sources: [{ name: 'made', path: 'secret/data/made', method: 'PUT', data: { data: { a: 'b' } } }],
    files: [{ name: 'made', source: { ref: 'made', key: 'version' } }],
  }
  const denied = await refusal('denied', spec)
  t.equal(denied.code, 'PERMISSION_DENIED')
  t.match(
    denied.details,
    /refused to write to "secret\/data\/made".*role "tools".*capabilities = \["update"\]/,
  )
  const wrong = { ...hashing('made', 'x'), data: { input: 'no base64!' } }
  const refused = await refusal('refused', { ...spec, sources: [wrong] })
  t.equal(refused.code, 'FAILED_PRECONDITION')
  t.match(
    refused.details,
    /took the call to "sys\/tools\/hash.*base64.*next: correct method and data of the source/,
  )
})

t.test(
  'a template takes keys of several sources, and says what exists where it asks for what does not',
  async (t) => {
    const sources = [{ name: 'app', path: 'secret/data/app' }]
    const file = (template: string, more: object = {}) => ({
      name: 'dsn',
      source: { path: 'secret/data/db' },
      template,
      ...more,
    })
    const dsn =
      'postgres://{{ user }}:{{ password | url_encode }}@{{ app.host }}:{{ app.port }}?key={{ data["api-key"] }}'
    const volume = await publish('dsn', { sources, files: [file(dsn)] })
    t.equal(volume.read('dsn'), 'postgres://ada:p%40ss%20w%2Frd@db.example.org:5432?key=k1')
    await node.vault.put('app', { host: 'db2.example.org', port: 5433 })
    await until('the other host', () => volume.read('dsn').includes('@db2.example.org:5433'))
    await node.unpublish(volume)

    const unknown = await refusal('unknown', {
      sources,
      files: [file('{{ usr }}{{ app.host }}', { optional: true })],
    })
    t.equal(unknown.code, 'FAILED_PRECONDITION')
    t.match(
      unknown.details,
      /template of file "dsn" failed: there is no "usr" \(line 1\); there exist .*"password".*"user"/,
    )
    t.match(unknown.details, /"app"/, 'the sources are among what exists')
    const misnamed = await refusal('misnamed', { sources, files: [file('{{ ap.host }}')] })
    t.match(
      misnamed.details,
      /there is no "ap" .*there exist .*"app"/,
      'also those that the template does not name',
    )
    const inner = await refusal('inner', { sources, files: [file('{{ app.hst }}')], missingPolicy: 'Ignore' })
    t.match(inner.details, /there is no "app.hst" \(line 1\); there exist "host", "port"/)
    t.notMatch(inner.details, /db2/, 'names, and no value')

    const absent = [{ name: 'app', path: 'secret/data/nowhere' }]
    const plain = { name: 'user', source: { path: 'secret/data/db', key: 'user' } }
    const missing = await refusal('missing', { sources: absent, files: [plain, file('{{ app.host }}')] })
    t.match(missing, { code: 'NOT_FOUND', details: /nothing is stored at "secret\/data\/nowhere"/ })
    const tolerant = await publish('tolerant', {
      sources: absent,
      files: [plain, file('{{ app.host }}', { optional: true })],
    })
    t.strictSame(tolerant.names(), ['user'])
    await node.vault.put('nowhere', { host: 'here' })
    await until('the file of the template', () => tolerant.names().includes('dsn'))
    t.equal(tolerant.read('dsn'), 'here')
    await node.unpublish(tolerant)
  },
)

t.test('versions stand beside the latest, and the ones that are gone say so', async (t) => {
  for (const key of ['one', 'two', 'three', 'four']) await node.vault.put('signing', { key })
  await admin.write('secret/delete/signing', { versions: [2] })
  await admin.write('secret/destroy/signing', { versions: [3] })
  const at = (version: number, more: object = {}) => ({
    sources: [{ name: 'old', path: 'secret/data/signing', version }],
    files: [
      { name: 'key', source: { path: 'secret/data/signing', key: 'key' } },
      { name: 'old', source: { ref: 'old', key: 'key' }, ...more },
    ],
  })
  const volume = await publish('first', at(1))
  const latest = await publish('zero', at(0))
  t.strictSame([volume.read('key'), volume.read('old'), latest.read('old')], ['four', 'one', 'four'])
  await node.vault.put('signing', { key: 'five' })
  await until('the latest', () => volume.read('key') === 'five' && latest.read('old') === 'five')
  t.equal(volume.read('old'), 'one', 'a version stays')
  await node.unpublish(latest)

  const deleted = await refusal('deleted', at(2))
  t.equal(deleted.code, 'NOT_FOUND')
  t.match(deleted.details, /version 2 of "secret\/data\/signing" was deleted at 20\d\d-.*next: undelete it/)
  const destroyed = await refusal('destroyed', at(3))
  t.match(destroyed.details, /version 3 of "secret\/data\/signing" was destroyed.*next: /)
  t.notMatch(destroyed.details, /undelete/, 'which no undelete brings back')
  const never = await refusal('never', at(9))
  t.match(
    never.details,
    /nothing is stored at "secret\/data\/signing" as version 9.*next: correct the version/,
  )

  const tolerant = await publish('deleted', at(2, { optional: true }))
  t.strictSame(tolerant.names(), ['key'])
  await admin.write('secret/undelete/signing', { versions: [2] })
  await until('the version that came back', () => tolerant.names().includes('old'))
  t.equal(tolerant.read('old'), 'two')
  await node.unpublish(tolerant)
  await node.unpublish(volume)
})
