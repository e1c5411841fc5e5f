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
import { patient, testToken } from '../harness/vault/vault-bench.ts'

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
    t.equal(vault.count(LOGIN), 2, 'Vault has refused already')
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
  store.acquire(identity, 'v1')
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

t.test('a token that may not revoke itself is reported once for its role', async (t) => {
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
