import t from 'tap'
import { authAnswer, type FakeAnswer } from '../fakes/fake-vault.ts'
import { faulty } from '../harness/faulty.ts'
import {
  tokensBench as bench,
  deferred,
  denial,
  LOGIN,
  moment,
  RENEW,
  REVOKE,
} from '../harness/vault/tokens-bench.ts'
import { patient, testIdentity, testToken } from '../harness/vault/vault-bench.ts'

t.test('one login serves every read of an identity', async (t) => {
  const { vault, read, meter } = await bench(t)
  await Promise.all([read('kv1/a'), read('kv1/b'), read('kv1/c')])
  await read('kv1/a')
  t.equal(vault.count(LOGIN), 1)
  t.same(vault.requests[0]!.body, { role: 'app', jwt: 'sa-1' })
  t.equal(meter.count('login jwt ok'), 1)
  t.equal(meter.count('vault read ok'), 4)
})

t.test('two identities have two tokens', async (t) => {
  const { vault, read, store, sa } = await bench(t)
  await read()
  await store.read(testIdentity(vault.address, { role: 'other' }), 'kv1/app', [sa], patient)
  t.equal(vault.count(LOGIN), 2)
})

t.test('the Vault namespace goes with login and read', async (t) => {
  const { vault, store, sa, identity } = await bench(t)
  const endpoint = { ...identity.endpoint, namespace: 'team/a' }
  await store.read(testIdentity(vault.address, { endpoint }), 'kv1/app', [sa], patient)
  t.same(
    vault.requests.map(({ headers }) => headers['x-vault-namespace']),
    ['team/a', 'team/a'],
  )
})

t.test('a token is renewed when less than a third of its life is left, not before', async (t) => {
  const { vault, clock, read } = await bench(t, { seconds: 60 })
  await read()
  await clock.advance(39_000)
  await read()
  t.equal(vault.count(RENEW), 0)
  await clock.advance(2_000)
  await read()
  await clock.advance(30_000)
  await read()
  t.equal(vault.count(RENEW), 1)
  t.equal(vault.count(LOGIN), 1)
})

t.test('a token that cannot be renewed is replaced by a login', async (t) => {
  const { vault, clock, read, tokensSeen } = await bench(t, { seconds: 60, renewable: false })
  await read()
  await clock.advance(41_000)
  await read()
  t.equal(vault.count(RENEW), 0)
  t.same(tokensSeen(), ['t1', 't2'])
  t.equal(vault.count(REVOKE), 1, 'no read uses the replaced token')
})

t.test('a renewal that fails or gives next to nothing leads to a login', async (t) => {
  const { vault, clock, read, rules, tokensSeen } = await bench(t, { seconds: 60 })
  await read()
  rules[RENEW] = () => ({ status: 403, body: { errors: ['permission denied'] } })
  await clock.advance(41_000)
  await read()
  rules[RENEW] = () => authAnswer('t2', { seconds: 20 })
  await clock.advance(41_000)
  await read()
  t.same(tokensSeen(), ['t1', 't2', 't3'])
  t.equal(vault.count(RENEW), 2)
})

t.test('a token past its end is not tried any more', async (t) => {
  const { vault, clock, read } = await bench(t, { seconds: 60 })
  await read()
  await clock.advance(61_000)
  await read()
  t.equal(vault.count(RENEW), 0)
  t.equal(vault.count(LOGIN), 2)
})

t.test('a token without an end is used for ever', async (t) => {
  const { vault, clock, read } = await bench(t, { seconds: 0, renewable: false })
  await read()
  await clock.advance(1_000_000_000)
  await read()
  t.equal(vault.count(LOGIN), 1)
})

t.test('a token near its end is used on when no service-account token is left to log in', async (t) => {
  const { clock, read, tokensSeen } = await bench(t, { seconds: 60, renewable: false })
  await read()
  await clock.advance(50_000)
  await read('kv1/app', [])
  t.same(tokensSeen(), ['t1', 't1'])
  await clock.advance(11_000)
  await t.rejects(read('kv1/app', []), faulty('token_missing', /kubelet passed no service-account token/))
})

t.test('the next service-account token is tried when the first is refused', async (t) => {
  const { vault, read, rules } = await bench(t)
  rules[LOGIN] = ({ body }) => (body.jwt === 'good' ? authAnswer('t1') : denial)
  await read('kv1/app', [testToken('bad'), testToken('good')])
  t.equal(vault.count(LOGIN), 2)
})

t.test('a Vault that cannot log anybody in is not asked for each service-account token', async (t) => {
  const { vault, read, rules } = await bench(t)
  rules[LOGIN] = () => ({ status: 503, body: { errors: ['Vault is sealed'] } })
  await t.rejects(read('kv1/app', [testToken('a'), testToken('b')]), faulty('sealed'))
  t.equal(vault.count(LOGIN), 1)
})

t.test('the one who gives up does not end the login for the others', async (t) => {
  const { vault, read, rules } = await bench(t)
  const login = deferred<FakeAnswer>()
  rules[LOGIN] = () => login.promise
  const abort = new AbortController()
  const impatient = read('kv1/a', undefined, abort.signal)
  const other = read('kv1/b')
  await moment()
  abort.abort(new Error('deadline'))
  await t.rejects(impatient, { message: 'deadline' })
  login.resolve(authAnswer('t1'))
  await other
  t.equal(vault.count(LOGIN), 1)
})

t.test('a refused service-account token does not fail the callers of another', async (t) => {
  const { vault, read, rules } = await bench(t)
  const first = deferred<FakeAnswer>()
  rules[LOGIN] = ({ body }) => (body.jwt === 'bad' ? first.promise : authAnswer('t1'))
  const all = Promise.allSettled(['bad', 'good', 'bad'].map((jwt, i) => read(`kv1/${i}`, [testToken(jwt)])))
  await moment()
  t.equal(vault.count(LOGIN), 1)
  first.resolve(denial)
  const [bad, good, same] = await all
  t.match(bad, { status: 'rejected', reason: { fault: 'login_denied' } })
  t.match(good, { status: 'fulfilled' })
  t.match(same, { status: 'rejected', reason: { fault: 'login_denied' } })
  t.equal(vault.count(LOGIN), 2, 'a token that was refused is not tried again at once')
})

t.test('the last release revokes the token, and nothing else does', async (t) => {
  const { vault, read, store, identity } = await bench(t)
  store.acquire(identity, 'v1')
  store.acquire(identity, 'v2')
  store.acquire(identity, 'v2')
  await read()
  await store.release(identity.key, 'v1', patient)
  await store.release(identity.key, 'v1', patient)
  await store.release('unknown', 'v9', patient)
  t.equal(vault.count(REVOKE), 0)
  await store.release(identity.key, 'v2', patient)
  t.equal(vault.count(REVOKE), 1)
  t.equal(vault.requests.at(-1)!.headers['x-vault-token'], 't1')
  await store.release(identity.key, 'v2', patient)
  t.equal(vault.count(REVOKE), 1)
})

t.test('closing revokes nothing', async (t) => {
  const { vault, read, store, identity } = await bench(t)
  store.acquire(identity, 'v1')
  await read()
  await store.close()
  t.equal(vault.count(REVOKE), 0)
})

t.test('a volume released during its login leaves no token behind', async (t) => {
  const { vault, read, store, identity, rules } = await bench(t)
  const login = deferred<FakeAnswer>()
  rules[LOGIN] = () => login.promise
  const abort = new AbortController()
  store.acquire(identity, 'v1')
  const reading = read('kv1/app', undefined, abort.signal)
  await moment()
  abort.abort(new Error('unpublished'))
  await t.rejects(reading, { message: 'unpublished' })
  await store.release(identity.key, 'v1', patient)
  t.equal(vault.count(REVOKE), 0)
  login.resolve(authAnswer('t1'))
  await moment()
  t.equal(vault.count(REVOKE), 1)
})

t.test('a token is not revoked under a read, nor when a new volume came meanwhile', async (t) => {
  const { vault, read, store, identity, rules } = await bench(t)
  const answer = deferred<FakeAnswer>()
  rules['kv1/slow'] = () => answer.promise
  store.acquire(identity, 'v1')
  const reading = read('kv1/slow')
  await moment()
  await store.release(identity.key, 'v1', patient)
  t.equal(vault.count(REVOKE), 0)
  store.acquire(identity, 'v2')
  answer.resolve({ body: { data: { key: 'value' } } })
  await reading
  await moment()
  t.equal(vault.count(REVOKE), 0)
  await store.release(identity.key, 'v2', patient)
  t.equal(vault.count(REVOKE), 1)
})

t.test('a revocation that fails or hangs holds nothing up and is logged without the token', async (t) => {
  const { clock, read, store, identity, rules, log } = await bench(t)
  rules[LOGIN] = () => authAnswer('s.canary')
  rules[REVOKE] = () => {
    setImmediate(() => clock.advance(3_000))
    return undefined
  }
  store.acquire(identity, 'v1')
  await read()
  await store.release(identity.key, 'v1', patient)
  t.same(log.messages('warn'), ['vault token not revoked'])
  t.notMatch(log.text.replaceAll('accessor-of-s.canary', ''), /canary/)
})

t.test('a token that Vault refuses is replaced once, then the refusal stands', async (t) => {
  const { vault, clock, read, rules, tokensSeen } = await bench(t, { seconds: 3_600 })
  await read()
  rules['kv1/app'] = ({ headers }) =>
    headers['x-vault-token'] === 't1'
      ? { status: 403, body: { errors: ['permission denied'] } }
      : { body: { data: { key: 'new' } } }
  await clock.advance(11_000)
  t.equal((await read()).values.get('key'), 'new')
  t.same(tokensSeen(), ['t1', 't1', 't2'])
  rules['kv1/app'] = () => ({ status: 403, body: { errors: ['permission denied'] } })
  await clock.advance(11_000)
  await t.rejects(read(), faulty('read_denied'))
  t.equal(vault.count(LOGIN), 3)
  t.same(tokensSeen(), ['t1', 't1', 't2', 't2', 't3'])
})

t.test('a young token that is refused is not replaced', async (t) => {
  const { vault, clock, read, rules } = await bench(t)
  rules['kv1/app'] = () => ({ status: 403, body: { errors: ['permission denied'] } })
  await t.rejects(read(), faulty('read_denied'))
  await clock.advance(9_000)
  await t.rejects(read(), faulty('read_denied'))
  t.equal(vault.count(LOGIN), 1)
})

t.test('many refused at once share the new login', async (t) => {
  const { vault, clock, read, rules } = await bench(t, { seconds: 3_600 })
  const names = ['kv1/a', 'kv1/b', 'kv1/c']
  await read()
  for (const name of names) {
    rules[name] = ({ headers }) =>
      headers['x-vault-token'] === 't1'
        ? { status: 403, body: { errors: ['permission denied'] } }
        : { body: { data: { key: 'new' } } }
  }
  await clock.advance(11_000)
  await Promise.all(names.map((name) => read(name)))
  t.equal(vault.count(LOGIN), 2)
})

t.test(
  'a bare denial is a missing mount when the mount says nothing either, else the reviewer',
  async (t) => {
    const { vault, rules, store, sa } = await bench(t)
    const kubernetes = testIdentity(vault.address, { method: 'kubernetes', authMount: 'main-kube' })
    rules['auth/main-kube/login'] = () => ({ status: 403, body: { errors: ['permission denied'] } })
    await t.rejects(store.read(kubernetes, 'kv1/a', [sa], patient), faulty('login_mount', /auth\/main-kube/))
    rules['auth/main-kube/login'] = ({ body }) =>
      body.role
        ? { status: 403, body: { errors: ['permission denied'] } }
        : { status: 400, body: { errors: ['missing role'] } }
    await t.rejects(
      store.read(kubernetes, 'kv1/a', [sa], patient),
      faulty('login_reviewer', /auth-delegator/),
    )
  },
)

t.test('a refused token is not taken back from a renewal that was under way', async (t) => {
  const { clock, read, rules, tokensSeen } = await bench(t, { seconds: 60 })
  const answer = deferred<FakeAnswer>()
  const renewal = deferred<FakeAnswer>()
  rules[RENEW] = () => renewal.promise
  rules['kv1/a'] = ({ headers }) =>
    headers['x-vault-token'] === 't1' ? answer.promise : { body: { data: { key: 'new' } } }
  await read('kv1/b')
  await clock.advance(35_000)
  const refused = read('kv1/a')
  await moment()
  await clock.advance(6_000)
  const renewing = read('kv1/b')
  await moment()
  answer.resolve({ status: 403, body: { errors: ['permission denied'] } })
  await moment()
  renewal.resolve(authAnswer('t1'))
  t.equal((await refused).values.get('key'), 'new')
  await renewing
  t.equal(tokensSeen().filter((token) => token === 't2').length, 1)
})

t.test('a discarded token is revoked, and the next read logs in again', async (t) => {
  const { vault, store, identity, read, tokensSeen } = await bench(t)
  await store.discardToken(identity, patient)
  t.equal(vault.requests.length, 0, 'before there is one, nothing happens')
  await read()
  await store.discardToken(identity, patient)
  t.equal(vault.count(REVOKE), 1)
  await read()
  t.same(tokensSeen(), ['t1', 't2'])
  t.equal(vault.count(LOGIN), 2)
})

t.test('a read under way when the token is given up is done again with another', async (t) => {
  const { vault, store, identity, rules, read, tokensSeen } = await bench(t)
  await read()
  const finished = deferred<void>()
  rules['kv1/slow'] = async ({ headers }) => {
    if (headers['x-vault-token'] !== 't1') return { body: { data: { key: 'value' } } }
    await finished.promise
    return { status: 403, body: { errors: ['permission denied'] } }
  }
  const reading = read('kv1/slow')
  await moment()
  await store.discardToken(identity, patient)
  finished.resolve()
  t.equal((await reading).values.get('key'), 'value')
  t.same(tokensSeen(), ['t1', 't1', 't2'])
  t.equal(vault.count(LOGIN), 2)
})

t.test('a renewal under way does not bring a token back that is given up', async (t) => {
  const { vault, store, identity, clock, rules, read, tokensSeen } = await bench(t)
  await read()
  await clock.advance(50_000)
  const held = deferred<void>()
  rules[RENEW] = async ({ headers }) => {
    await held.promise
    return authAnswer(String(headers['x-vault-token']))
  }
  const reading = read()
  await moment()
  const discarding = store.discardToken(identity, patient)
  held.resolve()
  await Promise.all([reading, discarding])
  t.equal(vault.count(REVOKE), 1)
  await read()
  t.equal(tokensSeen().at(-1), 't2')
})

t.test('discarding a token that Vault does not revoke never throws', async (t) => {
  const { store, identity, rules, log, read } = await bench(t)
  await read()
  rules[REVOKE] = () => ({ status: 500 })
  await store.discardToken(identity, patient)
  t.match(log.lines, [{ level: 'warn', message: 'vault token not revoked' }])
})
