import t, { type Test } from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import { type IssueRequest, issueRequestFor, sourceCall } from '../../src/core/imports/calls.ts'
import type { Lease, LeaseToken } from '../../src/core/ports/leases.ts'
import { SecretText } from '../../src/core/secret.ts'
import { createLimiter } from '../../src/vault/limiter.ts'
import { createVault } from '../../src/vault/vault.ts'
import { FakeClock } from '../fakes/clock.ts'
import { authAnswer, type FakeAnswer, RESET, type SeenRequest, startFakeVault } from '../fakes/fake-vault.ts'
import { FakeLog } from '../fakes/log.ts'
import { FakeMeter } from '../fakes/meter.ts'
import { patient, testIdentity, testToken } from '../harness/vault/vault-bench.ts'

const LOGIN = 'auth/jwt/login'
const RENEW = 'auth/token/renew-self'
const REVOKE = 'auth/token/revoke-self'
const LEASE_RENEW = 'sys/leases/renew'
const LEASE_REVOKE = 'sys/leases/revoke'
const MINUTE = 60_000

/** A Vault that answers as `rules` say, by path. */
async function bench(t: Test, rules: Record<string, (request: SeenRequest) => FakeAnswer> = {}) {
  const vault = await startFakeVault(
    (request) => rules[request.path]?.(request) ?? { status: 404, body: { errors: [] } },
  )
  const clock = new FakeClock()
  const log = new FakeLog()
  const meter = new FakeMeter()
  const limiter = createLimiter({ clock, callsPerSecond: 1000, concurrency: 16 })
  const defaultCa = () => ({ pem: 'THE NODE CA', source: 'a test' })
  const { store, issuer } = createVault({ clock, log, meter, limiter, defaultCa })
  t.teardown(async () => {
    await store.close()
    await vault.close()
  })
  const identity = testIdentity(vault.address)
  const token: LeaseToken = {
    token: new SecretText('own-token'),
    accessor: 'own-accessor',
    leasedAt: clock.monotonic(),
    durationMs: 60 * MINUTE,
    renewable: true,
    isBatch: false,
  }
  const holding = (more: Partial<Lease> = {}): Lease => ({
    id: 'one',
    request: orderOf('database/creds/app'),
    identity,
    token,
    vaultLease: {
      id: 'database/creds/app/1',
      leasedAt: clock.monotonic(),
      durationMs: 10 * MINUTE,
      renewable: true,
    },
    data: { values: new Map(), version: undefined },
    expiresAt: undefined,
    issuedAt: clock.now(),
    state: 'active',
    ...more,
  })
  return { vault, clock, log, meter, store, issuer, identity, token, holding, rules }
}

function orderOf(path: string, more: Partial<Parameters<typeof sourceCall>[0]> = {}): IssueRequest {
  const lease = { renewAt: undefined, revokeOnUnmount: undefined }
  return issueRequestFor(
    sourceCall({ name: 'one', path, method: 'GET', version: undefined, data: undefined, lease, ...more }),
  )
}

const leaseAnswer = (seconds: number) => () => ({
  body: { lease_id: 'database/creds/app/1', lease_duration: seconds, renewable: true, data: null },
})
const denied = { status: 403, body: { errors: ['1 error occurred:\n\t* permission denied\n\n'] } }

async function faultOf(t: Test, task: Promise<unknown>): Promise<FaultError> {
  const error = await task.then(
    () => t.fail('it must fail'),
    (error: unknown) => error,
  )
  if (!(error instanceof FaultError)) throw error
  return error
}

t.test('logging in', async (t) => {
  t.test('gives a token of its own each time', async (t) => {
    let count = 0
    const { issuer, identity, clock } = await bench(t, { [LOGIN]: () => authAnswer(`t${++count}`) })
    const one = await issuer.logIn(identity, [testToken('sa')], patient)
    const other = await issuer.logIn(identity, [testToken('sa')], patient)
    t.equal(one.token.reveal(), 't1')
    t.equal(other.token.reveal(), 't2')
    t.match(one, { accessor: 'accessor-of-t1', durationMs: MINUTE, renewable: true, isBatch: false })
    t.equal(one.leasedAt, clock.monotonic())
  })

  t.test('tries the next service-account token where the first may be at fault', async (t) => {
    const { issuer, identity, vault } = await bench(t, {
      [LOGIN]: ({ body }) =>
        body.jwt === 'good'
          ? authAnswer('t1')
          : { status: 400, body: { errors: ['invalid audience (aud) claim'] } },
    })
    const tokens = [testToken('bad'), testToken('good'), testToken('unused')]
    t.equal((await issuer.logIn(identity, tokens, patient)).token.reveal(), 't1')
    t.equal(vault.count(LOGIN), 2)
  })

  t.test('makes no request without a token', async (t) => {
    const { issuer, identity, vault } = await bench(t)
    t.equal((await faultOf(t, issuer.logIn(identity, [], patient))).fault, 'token_missing')
    t.equal(vault.requests.length, 0)
  })

  t.test('a token that is over by our clock is tried for want of a better one', async (t) => {
    const { issuer, identity, vault, clock, rules } = await bench(t, { [LOGIN]: () => authAnswer('t1') })
    const over = testToken('over', clock.now() - 3 * 60 * MINUTE)
    t.equal((await issuer.logIn(identity, [over], patient)).token.reveal(), 't1', 'our clock was wrong')
    await issuer.logIn(identity, [over, testToken('good')], patient)
    t.match(vault.requests.at(-1)?.body, { jwt: 'good' })
    rules[LOGIN] = () => ({ status: 400, body: { errors: ['token is expired (exp)'] } })
    const error = await faultOf(t, issuer.logIn(identity, [over], patient))
    t.equal(error.fault, 'token_missing', 'our clock was right')
    t.match(error.message, 'expired at 2029-12-31T21:00')
  })

  t.test('keeps a token without an end, and a batch token, for what they are', async (t) => {
    const { issuer, identity, rules } = await bench(t)
    rules[LOGIN] = () => authAnswer('t', { seconds: 0, renewable: false })
    t.equal((await issuer.logIn(identity, [testToken('sa')], patient)).durationMs, Number.POSITIVE_INFINITY)
    rules[LOGIN] = () => ({
      body: { auth: { client_token: 'b', lease_duration: 60, token_type: 'batch', policies: ['app'] } },
    })
    const batch = await issuer.logIn(identity, [testToken('sa')], patient)
    t.match(batch, { isBatch: true, renewable: false, accessor: '' })
  })

  t.test('that gives a root token is refused, and the token revoked', async (t) => {
    const { issuer, identity, vault } = await bench(t, {
      [LOGIN]: () => ({
        body: { auth: { client_token: 'hvs.root', policies: ['root'], lease_duration: 0 } },
      }),
      [REVOKE]: () => ({ status: 204 }),
    })
    const error = await faultOf(t, issuer.logIn(identity, [testToken('sa')], patient))
    t.equal(error.fault, 'credential_refused')
    t.match(error.message, 'root token')
    t.notMatch(error.message, 'hvs.root')
    t.equal(vault.requests.at(-1)?.path, REVOKE)
    t.equal(vault.requests.at(-1)?.headers['x-vault-token'], 'hvs.root')
  })
})

t.test('issuing', async (t) => {
  t.test('sends method, data, token and namespace as the import has them', async (t) => {
    const { issuer, identity, token, vault, meter } = await bench(t, {
      'pki/issue/web': () => ({ body: { data: { certificate: 'no PEM' } } }),
    })
    const own = { ...identity, endpoint: { ...identity.endpoint, namespace: 'office' } }
    const data = { common_name: 'web.example.org', ttl: 5, nested: { list: ['a'] } }
    const request = orderOf('pki/issue/web', { method: 'PUT', data })
    const issued = await issuer.issue(own, token, request, patient)
    const [seen] = vault.requests
    t.match(seen, { method: 'PUT', path: 'pki/issue/web', body: data })
    t.match(seen?.headers, { 'x-vault-token': 'own-token', 'x-vault-namespace': 'office' })
    t.match(issued, { lease: undefined, expiresAt: undefined, needsToken: false })
    t.equal(meter.count('vault issue ok'), 1)
  })

  t.test('a version of KV v2 is asked for by its number', async (t) => {
    const { issuer, identity, token, vault } = await bench(t, {
      'secret/data/app?version=3': () => ({
        body: { data: { data: { password: 'x' }, metadata: { version: 3 } } },
      }),
    })
    const request = orderOf('secret/data/app', { version: 3 })
    const { data, needsToken } = await issuer.issue(identity, token, request, patient)
    t.equal(data.values.get('password'), 'x')
    t.equal(data.version, 3)
    t.equal(needsToken, false)
    t.equal(vault.requests[0]?.method, 'GET')
  })

  t.test('takes the earlier of notAfter and expiration, and no certificate that was stored', async (t) => {
    const { issuer, identity, token, clock, rules } = await bench(t)
    const inOneHour = clock.now() / 1000 + 3600
    const answer = (expiration: number) => () => ({ body: { data: { certificate: 'x', expiration } } })
    const made = orderOf('pki/issue/web', { method: 'POST' })
    const endOf = async (request: IssueRequest) =>
      (await issuer.issue(identity, token, request, patient)).expiresAt
    rules['pki/issue/web'] = answer(inOneHour)
    t.equal(await endOf(made), inOneHour * 1000)
    t.equal(await endOf(orderOf('pki/issue/web')), undefined, 'a GET without a lease')
    rules['pki/issue/web'] = answer(inOneHour - 7200)
    const inAnHour = clock.now() + 60 * MINUTE
    t.equal(await endOf(made), inAnHour, 'it had ended, or our clock is wrong: another may be better later')
  })

  t.test('answers that hold no data are refused', async (t) => {
    const { issuer, identity, token, rules } = await bench(t)
    const request = orderOf('odd', { method: 'POST' })
    const refusal = () => faultOf(t, issuer.issue(identity, token, request, patient))
    const odd: [FakeAnswer, string, RegExp][] = [
      [{ status: 204 }, 'call_refused', /without data/],
      [{ body: { data: null } }, 'call_refused', /without data/],
      [{ body: { data: ['a'] } }, 'call_refused', /without data/],
      [authAnswer('hvs.given'), 'call_refused', /with a Vault token/],
      [{ body: { wrap_info: { token: 'hvs.wrapped' } } }, 'call_refused', /wrapped/],
      [{ status: 405, body: { errors: ['unsupported operation'] } }, 'call_refused', /unsupported operation/],
      [{ status: 404, body: { errors: ['no handler for route'] } }, 'path_not_found', /no handler for route/],
      [{ status: 500, body: { errors: ['boom'] } }, 'vault_error', /500.*boom/],
      [{ status: 503, body: { errors: ['Vault is sealed'] } }, 'sealed', /sealed/],
      [{ body: 'not JSON' }, 'vault_error', /not JSON/],
    ]
    for (const [answer, fault, says] of odd) {
      rules.odd = () => answer
      const error = await refusal()
      t.equal(error.fault, fault)
      t.match(error.message, says)
      t.notMatch(error.message, 'hvs.')
    }
  })

  t.test(
    'a wrapped secret ID is asked for with its time, and a missing field is no credential',
    async (t) => {
      const role = 'auth/approle/role/app'
      const { issuer, identity, token, vault, rules } = await bench(t, {
        [`${role}/role-id`]: () => ({ body: { data: { role_id: 'the-role' } } }),
        [`${role}/secret-id`]: () => ({ body: { wrap_info: { token: 'hvs.wrapped', ttl: 60 } } }),
      })
      const request: IssueRequest = {
        ...{ kind: 'secret-id', key: 'k', renewAt: 66, revokeOnUnmount: true },
        ...{ role: 'app', authPath: 'approle', isWrapped: true },
      }
      const { data } = await issuer.issue(identity, token, request, patient)
      t.equal(data.values.get('wrappedSecretId'), 'hvs.wrapped')
      t.equal(vault.requests.at(-1)?.headers['x-vault-wrap-ttl'], '60s')
      rules[`${role}/secret-id`] = () => ({ body: { data: { secret_id: 'plain' } } })
      const error = await faultOf(t, issuer.issue(identity, token, request, patient))
      t.equal(error.fault, 'vault_error')
      t.notMatch(error.message, 'plain')
      t.equal(
        (await faultOf(t, issuer.issue(identity, token, { ...request, isWrapped: false }, patient))).fault,
        'vault_error',
      )
    },
  )
})

t.test('renewing', async (t) => {
  t.test('in the last second of all is no life without end', async (t) => {
    const { issuer, holding, rules, clock } = await bench(t, { [LEASE_RENEW]: leaseAnswer(0) })
    const held = holding()
    await clock.advance(7 * MINUTE)
    t.equal(await issuer.renew(held, patient), undefined)
    rules[LEASE_RENEW] = leaseAnswer(600)
    rules[RENEW] = () => authAnswer('own-token', { seconds: 0 })
    await clock.advance(50 * MINUTE)
    t.equal(await issuer.renew(held, patient), undefined)
  })

  t.test('renews only the parts that are due', async (t) => {
    const { issuer, holding, vault, clock } = await bench(t, {
      [LEASE_RENEW]: leaseAnswer(600),
      [RENEW]: () => authAnswer('own-token', { seconds: 3600 }),
    })
    const held = holding()
    await clock.advance(7 * MINUTE)
    const renewed = await issuer.renew(held, patient)
    t.match(renewed?.vaultLease, { leasedAt: clock.monotonic(), durationMs: 10 * MINUTE })
    t.same(
      vault.requests.map(({ path }) => path),
      [LEASE_RENEW],
    )
    t.same(vault.requests[0]?.body, { lease_id: 'database/creds/app/1' })
    await clock.advance(33 * MINUTE)
    const both = await issuer.renew({ ...held, ...renewed }, patient)
    t.equal(both?.token?.leasedAt, clock.monotonic())
    t.same(
      vault.requests.slice(1).map(({ path }) => path),
      [RENEW, LEASE_RENEW],
    )
  })

  t.test('before anything is due, as the caller says, asks for all', async (t) => {
    const { issuer, holding, vault } = await bench(t, {
      [LEASE_RENEW]: leaseAnswer(600),
      [RENEW]: () => authAnswer('own-token', { seconds: 3600 }),
    })
    t.ok(await issuer.renew(holding(), patient))
    t.equal(vault.requests.length, 2)
    t.equal(await issuer.renew(holding({ expiresAt: Date.UTC(2031, 0, 1) }), patient), undefined)
  })

  t.test('ends where Vault gives half or less, or nothing', async (t) => {
    const { issuer, holding, clock, rules } = await bench(t)
    const held = holding()
    await clock.advance(7 * MINUTE)
    const refusals: FakeAnswer[] = [
      leaseAnswer(300)(),
      denied,
      { status: 400, body: { errors: ['lease not found'] } },
      { status: 404, body: { errors: [] } },
      { status: 500, body: { errors: ['past the max TTL, cannot renew'] } },
      { body: {} },
    ]
    for (const answer of refusals) {
      rules[LEASE_RENEW] = () => answer
      t.equal(await issuer.renew(held, patient), undefined)
    }
    await clock.advance(53 * MINUTE)
    rules[LEASE_RENEW] = leaseAnswer(600)
    rules[RENEW] = () => authAnswer('own-token', { seconds: 1800 })
    t.equal(await issuer.renew(held, patient), undefined, 'a token near its maximum')
  })

  t.test('is not asked for where it cannot be', async (t) => {
    const { issuer, holding, token, clock, vault } = await bench(t)
    const batch = { ...token, renewable: false, isBatch: true, durationMs: MINUTE }
    const { vaultLease } = holding()
    const fixed = vaultLease && { ...vaultLease, renewable: false }
    await clock.advance(59 * MINUTE)
    t.equal(await issuer.renew(holding({ token: batch }), patient), undefined)
    t.equal(await issuer.renew(holding({ token: undefined, vaultLease: undefined }), patient), undefined)
    t.equal(await issuer.renew(holding({ vaultLease: fixed, issuedAt: 0 }), patient), undefined)
    t.equal(vault.count(LEASE_RENEW), 0)
  })

  t.test('that Vault could not be asked for throws, and the caller keeps what it has', async (t) => {
    const { issuer, holding, clock, rules, log } = await bench(t)
    const held = holding()
    await clock.advance(7 * MINUTE)
    const passing: [FakeAnswer, string][] = [
      [{ status: 500, body: { errors: ['failed to renew: connection refused'] } }, 'vault_error'],
      [{ status: 502, body: '<html>' }, 'vault_error'],
      [{ status: 503, body: { errors: ['Vault is sealed'] } }, 'sealed'],
      [{ status: RESET }, 'unreachable'],
      [{ status: 429, headers: { 'retry-after': '60' }, body: { errors: ['quota'] } }, 'rate_limited'],
    ]
    for (const [answer, fault] of passing) {
      rules[LEASE_RENEW] = () => answer
      t.equal((await faultOf(t, issuer.renew(held, patient))).fault, fault)
    }
    t.notMatch(log.text, 'own-token')
  })
})

t.test('revoking', async (t) => {
  t.test('a token takes its leases along', async (t) => {
    const { issuer, holding, vault, meter } = await bench(t, { [REVOKE]: () => ({ status: 204 }) })
    await issuer.revoke(holding(), patient)
    t.same(
      vault.requests.map(({ path }) => path),
      [REVOKE],
    )
    t.equal(meter.count('vault revoke ok'), 1)
  })

  t.test('a token that Vault does not know is gone, in the words of either server', async (t) => {
    const { issuer, holding, rules } = await bench(t)
    const unknown = [
      ['permission denied'],
      ['bad token'],
      ['2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n'],
    ]
    for (const errors of unknown) {
      rules[REVOKE] = () => ({ status: 403, body: { errors } })
      t.equal(await issuer.revoke(holding(), patient), 'unknown')
    }
  })

  t.test('a token that may not revoke itself is reported once, and its lease is revoked', async (t) => {
    const { issuer, holding, rules, log, vault } = await bench(t, {
      [LEASE_REVOKE]: () => ({ status: 204 }),
    })
    rules[REVOKE] = () => denied
    for (let i = 0; i < 3; i++) t.equal(await issuer.revoke(holding(), patient), 'not-permitted')
    t.equal(vault.count(LEASE_REVOKE), 3)
    t.equal(log.lines.length, 1)
    t.match(log.lines[0], {
      level: 'warn',
      message: /by TTL only/,
      fields: { accessor: 'own-accessor' },
    })
    t.match(log.text, 'path \\"auth/token/revoke-self\\" { capabilities = [\\"update\\"] }')
    t.notMatch(log.text, 'own-token')
  })

  t.test('only passing faults are retried', async (t) => {
    const { issuer, holding, rules } = await bench(t)
    for (const status of [500, 502, 503, 429]) {
      rules[REVOKE] = () => ({ status, body: {} })
      t.equal((await faultOf(t, issuer.revoke(holding(), patient))).retry, 'soon', `${status}`)
      // A 429 pauses what it concerns.
    }
  })

  t.test('where there is no token there is nothing to revoke', async (t) => {
    const { issuer, holding, vault } = await bench(t)
    await issuer.revoke(holding({ token: undefined, vaultLease: undefined }), patient)
    t.equal(vault.requests.length, 0)
  })

  t.test('a batch token has its lease revoked', async (t) => {
    const { issuer, holding, token, vault } = await bench(t, { [LEASE_REVOKE]: () => ({ status: 204 }) })
    const batch = { ...token, isBatch: true }
    await issuer.revoke(holding({ token: batch }), patient)
    t.same(vault.requests[0]?.body, { lease_id: 'database/creds/app/1' })
    await issuer.revoke(holding({ token: batch, vaultLease: undefined }), patient)
    t.equal(vault.requests.length, 1)
  })

  t.test('fails where Vault cannot be asked, and keeps the token for the next try', async (t) => {
    const { issuer, holding, vault, rules } = await bench(t)
    const request: IssueRequest = {
      ...{ kind: 'secret-id', key: 'k', renewAt: 66, revokeOnUnmount: true },
      ...{ role: 'app', authPath: 'approle', isWrapped: false },
    }
    const data = { values: new Map([['accessor', 'a-1']]), version: undefined }
    rules['auth/approle/role/app/secret-id-accessor/destroy'] = () => ({ status: 503, body: {} })
    const error = await faultOf(t, issuer.revoke(holding({ request, data, vaultLease: undefined }), patient))
    t.equal(error.fault, 'sealed')
    t.equal(vault.count(REVOKE), 0)
    t.same(vault.requests[0]?.body, { secret_id_accessor: 'a-1' })
  })
})

t.test(
  'a secret ID that may not be destroyed ends by its TTL, and its token is revoked at once',
  async (t) => {
    const destroy = 'auth/approle/role/app/secret-id-accessor/destroy'
    const { issuer, holding, vault, log } = await bench(t, {
      [destroy]: () => denied,
      [REVOKE]: () => ({ status: 204 }),
    })
    const request: IssueRequest = {
      ...{ kind: 'secret-id', key: 'k', renewAt: 66, revokeOnUnmount: true },
      ...{ role: 'app', authPath: 'approle', isWrapped: false },
    }
    const data = { values: new Map([['accessor', 'a-1']]), version: undefined }
    await issuer.revoke(holding({ request, data, vaultLease: undefined }), patient)
    t.equal(vault.count(destroy), 1)
    t.equal(vault.count(REVOKE), 1)
    t.match(log.lines.map(({ message }) => message).join(), /not destroyed/)
  },
)

t.test('the authority of an endpoint is the import’s, else the node’s, and none for http', async (t) => {
  const { store, identity } = await bench(t)
  const https = { ...identity.endpoint, address: 'https://vault.example.org' }
  t.equal(store.authority(https), 'THE NODE CA')
  t.equal(store.authority({ ...https, caCert: 'ITS OWN CA' }), 'ITS OWN CA')
  t.equal(store.authority(identity.endpoint), undefined)
})
