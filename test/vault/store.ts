import t, { type Test } from 'tap'
import { jsonOf } from '../../src/core/json/value.ts'
import { FakeClock } from '../fakes/clock.ts'
import { authAnswer, type FakeAnswer, type Handler, startFakeVault } from '../fakes/fake-vault.ts'
import { drainEventLoop } from '../harness/event-loop.ts'
import { faulty } from '../harness/faulty.ts'
import { until } from '../harness/until.ts'
import { createVaultBench, patient, testIdentity, testToken } from '../harness/vault/vault-bench.ts'

async function bench(t: Test, handler: Handler) {
  const vault = await startFakeVault((request) =>
    request.path.endsWith('/login') ? authAnswer('s.canary') : handler(request),
  )
  const clock = new FakeClock()
  const { store, meter, log } = createVaultBench(clock)
  t.teardown(async () => {
    await store.close()
    await vault.close()
  })
  const read = (path: string, signal = patient) =>
    store.read(testIdentity(vault.address), path, [testToken('sa')], signal)
  return { vault, clock, meter, log, read }
}

t.test('KV v2 is unwrapped with its version, numbers as they were sent', async (t) => {
  const { read } = await bench(t, () => ({
    body: '{"data":{"data":{"b":"1","a":9007199254740993,"c":1.10},"metadata":{"version":7}}}',
  }))
  const { values, version } = await read('secret/data/app')
  t.equal(version, 7)
  t.same([...values.keys()], ['b', 'a', 'c'], 'in the order of the answer')
  t.equal([...values.values()].map(jsonOf).join(), '"1",9007199254740993,1.10')
})

t.test('what only looks a little like KV v2 is taken as it stands', async (t) => {
  const bodies: Record<string, object> = {
    'kv1/more': { data: { x: 1 }, metadata: {}, other: 1 },
    'kv1/text': { data: 'x', metadata: { y: 1 } },
    'kv1/data': { data: { x: 1 } },
  }
  const { read } = await bench(t, ({ path }) => ({ body: { data: bodies[path] } }))
  for (const [path, body] of Object.entries(bodies)) {
    const { values, version } = await read(path)
    t.same([...values.keys()], Object.keys(body))
    t.equal(version, undefined)
  }
})

t.test('an answer without data is a path where nothing is', async (t) => {
  const answers: Record<string, FakeAnswer> = {
    'x/null': { body: { data: null } },
    'x/none': { body: {} },
    'x/empty': { status: 204 },
  }
  const { read } = await bench(t, ({ path }) => answers[path]!)
  for (const path of Object.keys(answers)) await t.rejects(read(path), faulty('path_not_found'))
})

t.test('equal reads under way are one call, and later ones another', async (t) => {
  let value = 0
  const { vault, read } = await bench(t, async () => {
    await drainEventLoop()
    return { body: { data: { value: ++value } } }
  })
  const [first, second] = await Promise.all([read('kv1/a'), read('kv1/a'), read('kv1/b')])
  t.same(first, second)
  t.equal(vault.count('kv1/a'), 1)
  const later = await read('kv1/a')
  t.equal(vault.count('kv1/a'), 2, 'nothing is kept once it was given out')
  t.notSame([...later.values], [...first.values])
})

t.test('a shared read goes on when one of its callers gives up', async (t) => {
  let finish = () => {}
  const { vault, read } = await bench(
    t,
    () =>
      new Promise<FakeAnswer>((resolve) => {
        finish = () => resolve({ body: { data: { key: 'value' } } })
      }),
  )
  const abort = new AbortController()
  const impatient = read('kv1/a', abort.signal)
  const other = read('kv1/a')
  await until('the call', () => vault.count('kv1/a') === 1)
  abort.abort(new Error('deadline'))
  await t.rejects(impatient, { message: 'deadline' })
  finish()
  t.equal((await other).values.get('key'), 'value')
  t.equal(vault.count('kv1/a'), 1)
})

t.test('a read that all its callers aborted is ended, and the next one makes a new request', async (t) => {
  let isFirst = true
  const { vault, read } = await bench(t, () => {
    if (!isFirst) return { body: { data: { key: 'value' } } }
    isFirst = false
    return undefined
  })
  const abort = new AbortController()
  const given = read('kv1/a', abort.signal)
  await until('the call', () => vault.count('kv1/a') === 1)
  abort.abort(new Error('deadline'))
  await t.rejects(given, { message: 'deadline' })
  t.equal((await read('kv1/a')).values.get('key'), 'value')
  t.equal(vault.count('kv1/a'), 2)
})

t.test('a 429 holds further calls back for as long as Vault asks', async (t) => {
  const { vault, clock, read, meter } = await bench(t, () => ({
    status: 429,
    headers: { 'Retry-After': '30' },
    body: { errors: ['rate limit quota exceeded'] },
  }))
  await t.rejects(read('kv1/a'), faulty('rate_limited', /in 30 s/))
  await t.rejects(read('kv1/b'), faulty('rate_limited', /path "kv1\/b"/))
  t.equal(vault.count('kv1/b'), 0)
  await clock.advance(30_000)
  await t.rejects(read('kv1/b'), faulty('rate_limited'))
  t.equal(vault.count('kv1/b'), 1)
  t.equal(meter.count('vault read rate_limited'), 2)
})

t.test('a path that is too long is neither sent nor reported in full', async (t) => {
  const { vault, read } = await bench(t, () => ({ status: 204 }))
  const error = await read(`kv1/${'x'.repeat(100_000)}`).catch((error) => error)
  t.equal(error.fault, 'import_too_large')
  t.match(error.message, /a path of 100004 characters/)
  t.ok(error.message.length < 1_000)
  t.equal(vault.count('kv1/'), 0)
})

t.test('a lease ID of any length is not kept', async (t) => {
  const { read } = await bench(t, () => ({
    body: { lease_id: 'l'.repeat(5_000), lease_duration: 60, data: { key: 'value' } },
  }))
  await t.rejects(read('kv1/a'), faulty('vault_error', /a lease ID of 5000 characters/))
})

t.test('a KV v2 path without data/ is corrected by what Vault says of the mount', async (t) => {
  const warning = {
    status: 404,
    body: { data: null, warnings: ['Invalid path for a versioned K/V secrets engine.'] },
  }
  const { read } = await bench(t, ({ path }) => {
    if (path === 'sys/internal/ui/mounts/team/kv/app') return { body: { data: { path: 'team/kv/' } } }
    return path.startsWith('sys/') ? { status: 403, body: { errors: ['permission denied'] } } : warning
  })
  await t.rejects(read('team/kv/app'), faulty('kv2_path', /use path "team\/kv\/data\/app"/))
  await t.rejects(read('secret/app'), faulty('kv2_path', /use path "secret\/data\/app"/))
})

t.test('no token and no value stands in any error, log line or metric', async (t) => {
  const { read, log, meter } = await bench(t, ({ path }) => ({
    status: path === 'kv1/ok' ? 200 : 500,
    body:
      path === 'kv1/ok' ? '{"data":{"password":canary}}' : { errors: ['no'], data: { password: 'canary' } },
  }))
  for (const path of ['kv1/ok', 'kv1/broken']) {
    const error = await read(path).catch((error) => error)
    t.equal(error.fault, 'vault_error')
    t.notMatch(
      `${error.message} ${error.stack} ${JSON.stringify(error)} ${JSON.stringify(error.facts)}`,
      /canary/,
    )
    t.equal(error.cause, undefined)
  }
  t.notMatch(`${log.text} ${[...meter.counts.keys()]}`, /canary/)
})
