import { randomBytes } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import t from 'tap'
import { startRealNode } from '../harness/plugin/real-node.ts'
import { until } from '../harness/until.ts'

const MIB = 1 << 20
const node = await startRealNode(t, { args: ['--max-volume-bytes=8Mi', '--rotation-interval=1h'] })
const { vault } = node

type FileWish = { name: string; path: string; key: string; [more: string]: unknown }

async function writeImport(name: string, files: FileWish[], more: object = {}) {
  const list = files.map(({ path, key, ...file }) => ({ ...file, source: { path, key } }))
  await node.writeImport(name, { role: 'app', ...more, files: list })
}

/** One file for each key of a path. */
const each = (path: string, keys: readonly string[]) => keys.map((key) => ({ name: key, path, key }))

t.test('values arrive literally', async (t) => {
  // As text, for JavaScript itself could not write these numbers.
  const nested = '{"list":[1,2.50,null],"name":"x","deep":{"yes":true,"n":-0.0}}'
  const text = 'line one\nline two\n\ttabbed ünïcödé 🔑 "quoted" \\ and no end of line'
  const literal = '{"big":9007199254740993,"small":1.10,"yes":true,"empty":"","nested":NESTED,"text":TEXT}'
    .replace('NESTED', nested)
    .replace('TEXT', JSON.stringify(text))
  const answer = await fetch(`${vault.bao.adminAddress}/v1/kv1/literal`, {
    method: 'POST',
    headers: { 'X-Vault-Token': vault.bao.rootToken },
    body: literal,
  })
  t.equal(answer.status, 204, await answer.text())
  const keys = ['big', 'small', 'yes', 'empty', 'nested', 'text']
  await writeImport('literal', each('kv1/literal', keys))
  const volume = await node.publish({ importName: 'literal' })
  t.equal(volume.read('big'), '9007199254740993')
  t.equal(volume.read('small'), '1.10')
  t.equal(volume.read('yes'), 'true')
  t.equal(volume.read('empty'), '')
  t.equal(statSync(volume.path('empty')).size, 0)
  t.equal(volume.read('nested'), await storedText('kv1/literal', 'nested'), 'JSON as Vault sends it')
  t.equal(volume.read('text'), text)
  await node.unpublish(volume)
})

t.test('a KV v2 secret is that of its latest version', async (t) => {
  await vault.put('versions', { password: 'first', object: { a: [1, 'two'] } })
  await vault.put('versions', { password: 'second', object: { a: [1, 'two'] } })
  await writeImport('versions', each('secret/data/versions', ['password', 'object']))
  const volume = await node.publish({ importName: 'versions' })
  t.equal(volume.read('password'), 'second')
  t.equal(volume.read('object'), '{"a":[1,"two"]}')
  await node.unpublish(volume)
})

t.test('secrets of no byte, one byte and a mebibyte, text and binary', async (t) => {
  const binary = randomBytes(70_000)
  // Vault refuses requests of more than 32 MiB and raft entries of more than 1 MiB; this store is memory.
  const mebibyte = randomBytes(MIB / 2).toString('hex')
  await vault.admin.write('kv1/sizes', {
    none: '',
    one: 'x',
    mebibyte,
    base64: binary.toString('base64'),
    wrapped: binary.toString('base64').replace(/.{76}/g, '$&\n'),
    unpadded: Buffer.from('unpadded?').toString('base64').replaceAll('=', ''),
    hex: binary.toString('hex'),
  })
  const path = 'kv1/sizes'
  await writeImport('sizes', [
    ...each(path, ['none', 'one', 'mebibyte']),
    { name: 'old-style', path, key: 'base64', decodeBase64: true },
    { name: 'new-style', path, key: 'base64', encoding: 'base64' },
    { name: 'wrapped', path, key: 'wrapped', encoding: 'base64' },
    { name: 'unpadded', path, key: 'unpadded', encoding: 'base64' },
    { name: 'hex', path, key: 'hex', encoding: 'hex' },
    { name: 'no-byte-decoded', path, key: 'none', encoding: 'base64' },
  ])
  const volume = await node.publish({ importName: 'sizes' })
  t.equal(volume.read('none'), '')
  t.equal(volume.read('one'), 'x')
  t.ok(volume.read('mebibyte') === mebibyte)
  t.equal(statSync(volume.path('mebibyte')).size, MIB)
  for (const name of ['old-style', 'new-style', 'wrapped', 'hex']) {
    t.ok(readFileSync(volume.path(name)).equals(binary), name)
  }
  t.equal(volume.read('unpadded'), 'unpadded?')
  t.equal(volume.read('no-byte-decoded'), '')
  await node.unpublish(volume)
})

t.test('five hundred files of one secret and of many', async (t) => {
  // OpenBao takes no more than 1,000 texts, keys included, in one request.
  const data = (half: string) =>
    Object.fromEntries(
      Array.from({ length: 250 }, (_, index) => [`${half}-${index}`, `value ${half} ${index}`]),
    )
  const halves = { left: data('left'), right: data('right') }
  for (const [half, keys] of Object.entries(halves)) await vault.put(half, keys)
  await writeImport(
    'many',
    Object.entries(halves).flatMap(([half, keys]) => each(`secret/data/${half}`, Object.keys(keys))),
  )
  const volume = await node.publish({ importName: 'many' })
  t.equal(volume.names().length, 500)
  for (const [key, value] of Object.entries({ ...halves.left, ...halves.right })) {
    if (volume.read(key) !== value) t.fail(key)
  }
  await node.unpublish(volume)

  const paths = Array.from({ length: 20 }, (_, index) => `part-${index}`)
  await Promise.all(paths.map((path) => vault.put(path, { password: `of ${path}` })))
  await writeImport(
    'parts',
    paths.map((path) => ({ name: path, path: `secret/data/${path}`, key: 'password' })),
  )
  const parts = await node.publish({ importName: 'parts' })
  t.strictSame(
    parts.names().map((name) => parts.read(name)),
    parts.names().map((name) => `of ${name}`),
  )
  await node.unpublish(parts)
})

t.test('what is missing may be left out, where the import says so, and comes when it is there', async (t) => {
  await vault.put('partial', { here: 'yes' })
  await vault.put('gone', { here: 'yes' })
  await vault.admin.delete('secret/data/gone')
  const files = [
    { name: 'here', path: 'secret/data/partial', key: 'here' },
    { name: 'no-key', path: 'secret/data/partial', key: 'later' },
    { name: 'no-path', path: 'secret/data/nowhere', key: 'any' },
    { name: 'deleted', path: 'secret/data/gone', key: 'here' },
  ]
  const interval = { refreshInterval: '200ms' }
  await writeImport('ignoring', files, { missingPolicy: 'Ignore', ...interval })
  await writeImport(
    'optional',
    files.map((file) => ({ ...file, optional: file.name !== 'here' })),
    interval,
  )
  const ignoring = await node.publish({ importName: 'ignoring' })
  const optional = await node.publish({ importName: 'optional' })
  t.strictSame(ignoring.names(), ['here'])
  t.strictSame(optional.names(), ['here'])

  await vault.put('nowhere', { any: 'arrived' })
  await vault.put('partial', { here: 'yes', later: 'too' })
  for (const volume of [ignoring, optional]) {
    await until('the missing files', () => volume.names().length === 3)
    t.equal(volume.read('no-path'), 'arrived')
    t.equal(volume.read('no-key'), 'too')
  }
  await vault.admin.delete('secret/data/nowhere')
  await until('the file of a deleted secret to go', () => !ignoring.names().includes('no-path'))
  t.equal(ignoring.read('here'), 'yes')
  await node.unpublish(ignoring)
  await node.unpublish(optional)
})

t.test('a refused read is never taken for a missing one', async (t) => {
  await writeImport('forbidden', [{ name: 'secret', path: 'locked/app', key: 'password', optional: true }], {
    missingPolicy: 'Ignore',
  })
  t.match(await node.refusal({ importName: 'forbidden' }), { code: 'PERMISSION_DENIED' })
})

t.test('files that grow beyond the volume are refused and the old ones stay', async (t) => {
  await vault.admin.write('kv1/grows', { password: 'small' })
  const files = ['password', 'again'].map((name) => ({ name, path: 'kv1/grows', key: 'password' }))
  await writeImport('grows', files, { refreshInterval: '200ms' })
  const volume = await node.publish({ importName: 'grows' })
  await vault.admin.write('kv1/grows', { password: 'x'.repeat(3 * MIB) })
  await until('the refusal', () =>
    node.log().find(({ msg, error }) => msg.startsWith('refresh failed') && isFault(error, 'volume_full')),
  )
  t.equal(volume.read('password'), 'small')
  const error = await node.refusal({ importName: 'grows' })
  t.equal(error.code, 'FAILED_PRECONDITION')
  t.match(error.details, /the files need 12582912 bytes, the volume holds 8388608 .*--max-volume-bytes/)
  await vault.admin.write('kv1/grows', { password: 'small again' })
  await until('the new file', () => volume.read('password') === 'small again')
  await node.unpublish(volume)
})

/** The text that Vault sends for one key, cut out of its answer: JSON.parse would change numbers. */
async function storedText(path: string, key: string): Promise<string> {
  const answer = await fetch(`${vault.bao.adminAddress}/v1/${path}`, {
    headers: { 'X-Vault-Token': vault.bao.rootToken },
  })
  const text = await answer.text()
  const start = text.indexOf(`"${key}":`) + key.length + 3
  let depth = 0
  for (let at = start; at < text.length; at++) {
    if (text[at] === '{') depth += 1
    if (text[at] === '}') depth -= 1
    if (depth === 0) return text.slice(start, at + 1)
  }
  throw new Error(`no object at ${key}`)
}

function isFault(error: unknown, fault: string): boolean {
  return (error as { fault?: string } | undefined)?.fault === fault
}
