import t, { type Test } from 'tap'
import { FakeClock } from '../fakes/clock.ts'
import { authAnswer, type FakeAnswer, type SeenRequest, startFakeVault } from '../support/fake-vault.ts'
import { faulty } from '../support/faulty.ts'
import { createVaultBench, patient, testIdentity, testToken } from '../support/vault-bench.ts'

const LOGIN = 'auth/jwt/login'
const RENEW = 'auth/token/renew-self'
const REVOKE = 'auth/token/revoke-self'

/** A Vault that gives tokens t1, t2, … and lets every one of them read. */
async function bench(t: Test, lease: { seconds?: number; renewable?: boolean } = {}) {
  let count = 0
  const rules: Record<string, (request: SeenRequest) => FakeAnswer | Promise<FakeAnswer> | undefined> = {
    [LOGIN]: () => authAnswer(`t${++count}`, lease),
    [RENEW]: ({ headers }) => authAnswer(String(headers['x-vault-token']), lease),
    [REVOKE]: () => ({ status: 204 }),
  }
  const vault = await startFakeVault((request) =>
    rules[request.path] ? rules[request.path]!(request) : { body: { data: { key: 'value' } } },
  )
  const clock = new FakeClock()
  const { store, log, meter } = createVaultBench(clock)
  t.teardown(async () => {
    await store.close()
    await vault.close()
  })
  const identity = testIdentity(vault.address)
  const sa = testToken('sa-1')
  const read = (path = 'kv1/app', tokens = [sa], signal = patient) =>
    store.read(identity, path, tokens, signal)
  const tokensSeen = () =>
    vault.requests
      .filter(({ path }) => path.startsWith('kv1/'))
      .map(({ headers }) => headers['x-vault-token'])
  return { vault, clock, store, log, meter, identity, rules, read, tokensSeen, sa }
}

/** A promise to be settled by hand. */
function deferred<T>() {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((done) => {
    resolve = done
  })
  return { promise, resolve }
}

const moment = () => new Promise((resolve) => setTimeout(resolve, 25))
const denial: FakeAnswer = {
  status: 400,
  body: { errors: ['error validating token: invalid subject (sub) claim'] },
}

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
  t.equal(vault.count(REVOKE), 1, 'nobody reads with the one that was replaced')
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

t.test('expired service-account tokens are passed over where there is a better one', async (t) => {
  const { vault, clock, read } = await bench(t)
  await read('kv1/app', [testToken('old', clock.now() - 1), testToken('new')])
  t.match(vault.requests[0]!.body, { jwt: 'new' })
})

t.test(
  'with nothing better Vault decides whether our clock is right about a token, once in a while',
  async (t) => {
    const { vault, clock, read, rules } = await bench(t, { seconds: 60 })
    const old = testToken('old', clock.now() - 3 * 3_600_000)
    await read('kv1/app', [old])
    t.equal(vault.count(LOGIN), 1, 'our clock was wrong')
    rules[LOGIN] = () => denial
    await clock.advance(61_000)
    await t.rejects(read('kv1/app', [old]), faulty('token_missing', /expired at 2029-12-31T21:00:00/))
    await t.rejects(read('kv1/app', [old]), faulty('token_missing'))
    t.equal(vault.count(LOGIN), 2, 'Vault has told already')
    rules[LOGIN] = () => authAnswer('t2')
    await read('kv1/app', [testToken('newer')])
    await clock.advance(600_000)
    await read('kv1/app', [old])
    t.equal(vault.count(LOGIN), 4, 'after a while it is asked again')
  },
)

for (const hours of [-3, 3]) {
  t.test(`with the wall clock set by ${hours} hours tokens are renewed and replaced in time`, async (t) => {
    const { vault, clock, read, rules } = await bench(t, { seconds: 60 })
    await read()
    clock.step(hours * 3_600_000)
    await clock.advance(39_000)
    await read()
    t.equal(vault.count(RENEW), 0)
    await clock.advance(2_000)
    await read()
    t.equal(vault.count(RENEW), 1)
    rules['kv1/app'] = ({ headers }) =>
      headers['x-vault-token'] === 't1'
        ? { status: 403, body: { errors: ['permission denied'] } }
        : { body: { data: { key: 'value' } } }
    await clock.advance(61_000)
    await read()
    t.equal(vault.count(LOGIN), 2, 'after its end another is fetched, not tried in vain')
  })
}

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

t.test('nobody is refused for the service-account token of another', async (t) => {
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
  store.retain(identity, 'v1')
  store.retain(identity, 'v2')
  store.retain(identity, 'v2')
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
  store.retain(identity, 'v1')
  await read()
  await store.close()
  t.equal(vault.count(REVOKE), 0)
})

t.test('a volume released during its login leaves no token behind', async (t) => {
  const { vault, read, store, identity, rules } = await bench(t)
  const login = deferred<FakeAnswer>()
  rules[LOGIN] = () => login.promise
  const abort = new AbortController()
  store.retain(identity, 'v1')
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
  store.retain(identity, 'v1')
  const reading = read('kv1/slow')
  await moment()
  await store.release(identity.key, 'v1', patient)
  t.equal(vault.count(REVOKE), 0)
  store.retain(identity, 'v2')
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
  store.retain(identity, 'v1')
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

t.test('a token that is given up is revoked, and whoever reads next logs in anew', async (t) => {
  const { vault, store, identity, read, tokensSeen } = await bench(t)
  await store.retire(identity, patient)
  t.equal(vault.requests.length, 0, 'before there is one, nothing happens')
  await read()
  await store.retire(identity, patient)
  t.equal(vault.count(REVOKE), 1)
  await read()
  t.same(tokensSeen(), ['t1', 't2'])
  t.equal(vault.count(LOGIN), 2)
})

t.test('a read under way when the token is given up is done again with another', async (t) => {
  const { vault, store, identity, rules, read, tokensSeen } = await bench(t)
  await read()
  const retired = deferred<void>()
  rules['kv1/slow'] = async ({ headers }) => {
    if (headers['x-vault-token'] !== 't1') return { body: { data: { key: 'value' } } }
    await retired.promise
    return { status: 403, body: { errors: ['permission denied'] } }
  }
  const reading = read('kv1/slow')
  await moment()
  await store.retire(identity, patient)
  retired.resolve()
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
  const retiring = store.retire(identity, patient)
  held.resolve()
  await Promise.all([reading, retiring])
  t.equal(vault.count(REVOKE), 1)
  await read()
  t.equal(tokensSeen().at(-1), 't2')
})

t.test('giving a token up that Vault does not revoke fails nobody', async (t) => {
  const { store, identity, rules, log, read } = await bench(t)
  await read()
  rules[REVOKE] = () => ({ status: 500 })
  await store.retire(identity, patient)
  t.match(log.lines, [{ level: 'warn', message: 'vault token not revoked' }])
})

const refusal: FakeAnswer = { status: 403, body: { errors: ['permission denied'] } }

t.test('a path that stays denied costs a login now and then, and leaves no token behind', async (t) => {
  const { vault, clock, read, rules } = await bench(t, { seconds: 36_000 })
  await read('kv1/other')
  rules['kv1/app'] = () => refusal
  rules['kv1/too'] = () => refusal
  for (let round = 0; round < 60; round++) {
    await clock.advance(100_000)
    await t.rejects(read(), faulty('read_denied'))
    await moment()
    await clock.advance(20_000)
    await t.rejects(read('kv1/too'), faulty('read_denied'))
    await read('kv1/other')
    await moment()
  }
  const logins = vault.count(LOGIN)
  t.ok(logins <= 20, `${logins} logins in two hours`)
  t.equal(vault.count(REVOKE), logins - 1, 'one token is left')
})

t.test('a denied path gets a new token once the path was readable in between', async (t) => {
  const { vault, clock, read, rules } = await bench(t, { seconds: 36_000 })
  const deny = async () => {
    rules['kv1/app'] = () => refusal
    await clock.advance(11_000)
    await t.rejects(read(), faulty('read_denied'))
  }
  await read()
  await deny()
  await deny()
  t.equal(vault.count(LOGIN), 2)
  delete rules['kv1/app']
  await read()
  await deny()
  t.equal(vault.count(LOGIN), 3)
})

t.test('a login that brings the refused token again is taken for the answer', async (t) => {
  const { vault, clock, read, rules } = await bench(t, { seconds: 3_600 })
  rules[LOGIN] = () => authAnswer('cached')
  await read()
  rules['kv1/app'] = () => refusal
  await clock.advance(11_000)
  await t.rejects(read(), faulty('read_denied'))
  await clock.advance(11_000)
  await t.rejects(read(), faulty('read_denied'))
  t.equal(vault.count(LOGIN), 2)
  t.equal(vault.count(REVOKE), 0, 'the token in use is not the one that was replaced')
})

t.test('a replaced token is revoked after the last read with it', async (t) => {
  const { vault, clock, read, rules } = await bench(t, { seconds: 20, renewable: false })
  const answer = deferred<FakeAnswer>()
  rules['kv1/slow'] = () => answer.promise
  const reading = read('kv1/slow')
  await moment()
  const still = read('kv1/slow')
  await clock.advance(14_000)
  await read()
  t.equal(vault.count(LOGIN), 2)
  await moment()
  t.equal(vault.count(REVOKE), 0)
  answer.resolve({ body: { data: { key: 'value' } } })
  await Promise.all([reading, still])
  await moment()
  t.same(
    vault.requests.filter(({ path }) => path === REVOKE).map(({ headers }) => headers['x-vault-token']),
    ['t1'],
  )
})

t.test('a token that Vault could not revoke is revoked when Vault is back', async (t) => {
  const { vault, clock, read, store, identity, rules, log } = await bench(t, { seconds: 3_600 })
  store.retain(identity, 'v1')
  await read()
  rules[REVOKE] = () => ({ status: 503, body: { errors: ['Vault is sealed'] } })
  await store.release(identity.key, 'v1', patient)
  await clock.advance(6_000)
  await moment()
  rules[REVOKE] = () => ({ status: 204 })
  const tries = vault.count(REVOKE)
  t.ok(tries >= 1)
  for (let i = 0; i < 20; i++) {
    await clock.advance(2_000)
    await moment()
  }
  t.equal(vault.count(REVOKE), tries + 1)
  t.equal(log.messages('warn').length, 1)
})

t.test('a token that may not revoke itself is told of once for its role', async (t) => {
  const { vault, clock, read, rules, log } = await bench(t, { seconds: 60, renewable: false })
  const reason = { status: 403, body: { errors: ['1 error occurred:\n\t* permission denied\n\n'] } }
  rules[REVOKE] = () => reason
  for (let i = 0; i < 4; i++) {
    await read()
    await moment()
    await clock.advance(45_000)
  }
  t.equal(vault.count(REVOKE), 3, 'and not tried again')
  t.equal(log.messages('warn').length, 1)
  t.match(log.text, 'revoke-self')
})

t.test('what Vault says of a life is held to what a life can be', async (t) => {
  const { vault, clock, read, rules } = await bench(t)
  const lives = ['-5', '1e999', '"soon"', '1e300', '0.0001']
  const body = (life: string) =>
    `{"auth":{"client_token":"t","accessor":"${'a'.repeat(5_000)}","lease_duration":${life}}}`
  for (const life of lives) {
    rules[LOGIN] = () => ({ body: body(life) })
    await read()
    await clock.advance(400)
  }
  t.equal(vault.count(LOGIN), 1, 'what is no life has no end that we know')
  const long = await bench(t)
  long.rules[LOGIN] = () => authAnswer('t'.repeat(9_000))
  await t.rejects(long.read(), faulty('vault_error', /a token of 9000 characters/))
})
