import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import { type IssueRequest, issueRequestFor, sourceCall } from '../../src/core/imports/calls.ts'
import { type JsonText, textOf, valueToNumber } from '../../src/core/json/value.ts'
import type { Lease } from '../../src/core/ports/leases.ts'
import type { Identity } from '../../src/core/ports/vault.ts'
import { until } from '../harness/until.ts'
import { loginTokens } from '../harness/vault/login-tokens.ts'
import { startOpenBaoBench } from '../harness/vault/openbao-bench.ts'
import { type Postgres, postgresMissing, startPostgres } from '../harness/vault/postgres.ts'
import { patient, testIdentity } from '../harness/vault/vault-bench.ts'
import { setUpDatabase, setUpPki } from '../harness/vault/vault-engines.ts'

const bench = await startOpenBaoBench(t)
const { admin, bao, identity, podToken, vaultIssuer: issuer } = bench

const POLICY = `
  path "database/creds/*" { capabilities = ["read"] }
  path "pki/issue/*" { capabilities = ["update"] }
  path "pki/sign/*" { capabilities = ["update"] }
  path "transit/*" { capabilities = ["update"] }
  path "kv1/*" { capabilities = ["create", "update", "read"] }
  path "cubbyhole/*" { capabilities = ["create", "update", "read"] }
  path "auth/token/create" { capabilities = ["update"] }
`
await admin.write('sys/policies/acl/issuing', { policy: POLICY })
await admin.write('sys/policies/acl/revoking', {
  policy: 'path "sys/leases/revoke" { capabilities = ["update"] }',
})
const common = { namespace: 'shop', serviceAccount: 'backend', audience: 'vault' }
await Promise.all([
  admin.writeJwtRole('jwt', 'app', { ...common, policies: ['issuing'] }),
  admin.writeJwtRole('jwt', 'short', { ...common, policies: ['issuing'], ttl: 2, maxTtl: 5 }),
  admin.writeJwtRole('jwt', 'batch', { ...common, policies: ['issuing'], more: { token_type: 'batch' } }),
  admin.writeJwtRole('jwt', 'batch-revoking', {
    ...common,
    policies: ['issuing', 'revoking'],
    more: { token_type: 'batch' },
  }),
  admin.writeJwtRole('jwt', 'bare', {
    ...common,
    policies: ['issuing'],
    more: { token_no_default_policy: true },
  }),
  setUpPki(admin),
  admin.enableKv1('kv1'),
  admin.write('sys/mounts/transit', { type: 'transit' }),
])
await admin.write('transit/keys/app')

const as = (role: string) => testIdentity(bao.address, { role })

function request(
  path: string,
  more: { method?: 'GET' | 'PUT' | 'POST'; data?: Record<string, unknown>; renewAt?: number } = {},
): IssueRequest {
  const { method = 'GET', data, renewAt } = more
  const lease = { renewAt, revokeOnUnmount: true }
  return issueRequestFor(sourceCall({ name: 'one', path, method, version: undefined, data, lease }))
}

const tokenOrder: IssueRequest = {
  kind: 'token',
  key: 'credential: token',
  renewAt: 66,
  revokeOnUnmount: true,
}

/** Logs in and has it issued, as the flow does. */
async function hold(wanted: IssueRequest, own: Identity = identity): Promise<Lease> {
  const token = await issuer.logIn(own, [podToken()], patient)
  const issuedAt = Date.now()
  const { needsToken, ...issued } = await issuer.issue(own, token, wanted, patient)
  const base = { id: `${issuedAt}`, request: wanted, identity: own, issuedAt, state: 'active' as const }
  return { ...base, ...issued, token: needsToken ? token : undefined }
}

async function faultOf(t: Test, task: Promise<unknown>): Promise<FaultError> {
  const error = await task.then(
    () => t.fail('it must fail'),
    (error: unknown) => error,
  )
  if (!(error instanceof FaultError)) throw error
  t.notMatch(`${error.message} ${JSON.stringify(error.facts)}`, /eyJ|\b[hs]v?[sbr]?\.[A-Za-z0-9]{24}/)
  return error
}

const text = (holding: Lease, key: string) => String(holding.data.values.get(key))

t.test('credentials of a database', { skip: postgresMissing() ?? false }, async (t) => {
  const postgres: Postgres = await startPostgres()
  t.teardown(() => postgres.close())
  await setUpDatabase(admin, postgres, { ttl: 60, maxTtl: 120 })
  const canLogIn = (holding: Lease) => postgres.canLogIn(text(holding, 'username'), text(holding, 'password'))
  const users = async () =>
    (await postgres.sql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'")).split('\n')
  const isUser = async (holding: Lease) => (await users()).includes(text(holding, 'username'))

  t.test('each issue is a user of its own, which a revocation takes away with its token', async (t) => {
    const [one, other] = await Promise.all([
      hold(request('database/creds/app')),
      hold(request('database/creds/app')),
    ])
    t.not(text(one, 'username'), text(other, 'username'))
    t.ok(await canLogIn(one))
    t.match(one.vaultLease, { durationMs: 60_000, renewable: true, id: /^database\/creds\/app\// })
    t.equal(one.expiresAt, undefined)
    t.ok(one.token, 'its lease hangs on the token')

    await issuer.revoke(one, patient)
    await until('the user to be gone', async () => !(await isUser(one)))
    t.notOk(await canLogIn(one))
    t.ok(await canLogIn(other), 'other tokens are not touched')
    t.notOk((await loginTokens(admin)).includes(one.token?.accessor ?? ''), 'the token is gone too')
    await issuer.revoke(one, patient)
    t.pass('what is gone already is success')
    await issuer.revoke(other, patient)
  })

  t.test('a lease is renewed until its maximum is near, then it is to be replaced', async (t) => {
    await setUpDatabase(admin, postgres, { ttl: 3, maxTtl: 5 })
    const first = await hold(request('database/creds/app', { renewAt: 10 }))
    await sleep(1_500)
    const renewed = await issuer.renew(first, patient)
    t.equal(renewed?.vaultLease?.durationMs, 3_000)
    t.ok((renewed?.vaultLease?.leasedAt ?? 0) >= (first.vaultLease?.leasedAt ?? 0) + 1_000)
    t.equal(renewed?.token?.leasedAt, first.token?.leasedAt, 'a long-lived token is not renewed')

    // Vault counts in whole seconds: from 4 s after the issue on, at most 1 s is left at any phase of its clock.
    await sleep(2_500)
    const second: Lease = { ...first, ...renewed }
    t.ok(await canLogIn(second), 'longer than its first lease')
    t.equal(await issuer.renew(second, patient), undefined)
    await issuer.revoke(second, patient)
    await setUpDatabase(admin, postgres, { ttl: 60, maxTtl: 120 })
  })

  t.test('a lease that a Vault admin has revoked is to be replaced', async (t) => {
    const held = await hold(request('database/creds/app', { renewAt: 0 }))
    await admin.write('sys/leases/revoke', { lease_id: held.vaultLease?.id, sync: true })
    t.equal(await issuer.renew(held, patient), undefined)
    await issuer.revoke(held, patient)
  })

  t.test('so is one whose token is gone', async (t) => {
    const held = await hold(request('database/creds/app', { renewAt: 0 }))
    await admin.write('auth/token/revoke-accessor', { accessor: held.token?.accessor })
    t.equal(await issuer.renew(held, patient), undefined)
    await until('the user to be gone', async () => !(await isUser(held)))
  })

  t.test('the token is renewed with the lease, and both are replaced when it can be no more', async (t) => {
    const held = await hold(request('database/creds/app', { renewAt: 10 }), as('short'))
    t.equal(held.token?.durationMs, 2_000)
    await sleep(1_000)
    const renewed = await issuer.renew(held, patient)
    t.ok((renewed?.token?.leasedAt ?? 0) > (held.token?.leasedAt ?? 0))
    await sleep(1_300)
    t.ok(await canLogIn(held), 'longer than the first life of its token')
    const again = await issuer.renew({ ...held, ...renewed }, patient)
    await sleep(1_900)
    t.equal(await issuer.renew({ ...held, ...again }, patient), undefined, 'max TTL of 5 s is near')
    await issuer.revoke(held, patient)
    await until('the user to be gone', async () => !(await isUser(held)))
  })

  t.test('with a batch token the lease itself is revoked', async (t) => {
    const held = await hold(request('database/creds/app', { renewAt: 0 }), as('batch-revoking'))
    t.equal(held.token?.isBatch, true)
    t.equal(held.token?.renewable, false)
    t.equal(await issuer.renew(held, patient), undefined)
    await issuer.revoke(held, patient)
    await until('the user to be gone', async () => !(await isUser(held)))
  })

  t.test('which takes a policy, and the log says so', async (t) => {
    const held = await hold(request('database/creds/app'), as('batch'))
    t.equal(await issuer.revoke(held, patient), 'not-permitted')
    t.match(bench.log.text, 'path \\"sys/leases/revoke\\" { capabilities = [\\"update\\"] }')
    t.ok(await canLogIn(held))
  })

  t.test('of a token that may not revoke itself the log says what its policy lacks', async (t) => {
    const held = await hold(request('database/creds/app', { renewAt: 0 }), as('bare'))
    t.equal(await issuer.renew(held, patient), undefined, 'nor can it be renewed')
    t.equal(await issuer.revoke(held, patient), 'not-permitted')
    t.match(bench.log.text, 'path \\"auth/token/revoke-self\\" { capabilities = [\\"update\\"] }')
  })

  t.test('an unknown role of the engine is reported with its error text', async (t) => {
    const error = await faultOf(t, hold(request('database/creds/none')))
    t.equal(error.fault, 'call_refused')
    t.match(error.message, 'unknown role: none')
  })

  t.test('a shared read of such a path returns the lease, and discarding the token ends it', async (t) => {
    const { store } = bench
    const { values, lease } = await store.read(identity, 'database/creds/app', [podToken()], patient)
    t.match(lease, { id: /^database\/creds\/app\//, durationMs: 60_000, renewable: true })
    const user = String(values.get('username'))
    t.ok((await users()).includes(user))
    await store.discardToken(identity, patient)
    await until('the user to be gone', async () => !(await users()).includes(user))
    const other = await store.read(identity, 'database/creds/app', [podToken()], patient)
    t.not(String(other.values.get('username')), user, 'others log in again')
    await store.discardToken(identity, patient)
  })
})

t.test('certificates', async (t) => {
  const web = (data: Record<string, unknown>) => request('pki/issue/web', { method: 'PUT', data })

  t.test('end at notAfter, depend on no token, and are issued again instead of renewed', async (t) => {
    const issued = await hold(web({ common_name: 'web.example.org', ttl: '30s' }))
    const expiration = issued.data.values.get('expiration') as JsonText
    t.equal(issued.expiresAt, Number(expiration.json) * 1000)
    t.match(text(issued, 'certificate'), /^-----BEGIN CERTIFICATE/)
    t.match(text(issued, 'private_key'), /PRIVATE KEY/)
    t.equal(issued.token, undefined)
    t.equal(issued.vaultLease, undefined)
    t.equal(await issuer.renew({ ...issued, request: { ...issued.request, renewAt: 0 } }, patient), undefined)
  })

  t.test('are understood as DER and as a bundle with the key too', async (t) => {
    for (const format of ['der', 'pem_bundle']) {
      const { data, expiresAt } = await hold(web({ common_name: 'web.example.org', ttl: '30s', format }))
      const expiration = data.values.get('expiration') as JsonText
      t.equal(expiresAt, Number(expiration.json) * 1000, format)
    }
  })

  t.test("for a name that the role does not allow are refused in the engine's words", async (t) => {
    const error = await faultOf(t, hold(web({ common_name: 'web.example.com' })))
    t.equal(error.fault, 'call_refused')
    t.match(error.message, 'common name web.example.com not allowed by this role')
    t.match(error.message, '"pki/issue/web"')
    t.match(error.message, 'next: correct method and data')
  })

  t.test('with a lease hang on the token', async (t) => {
    const names = { allowed_domains: 'example.org', allow_subdomains: true, max_ttl: 3600 }
    await admin.write('pki/roles/leased', { ...names, generate_lease: true, key_type: 'ec', key_bits: 256 })
    const data = { common_name: 'web.example.org', ttl: '30s' }
    const held = await hold(request('pki/issue/leased', { method: 'POST', data }))
    t.ok(held.token)
    t.equal(held.vaultLease?.renewable, false)
    t.ok(held.expiresAt)
    await issuer.revoke(held, patient)
  })
})

t.test('a denied issue names the capability', async (t) => {
  const error = await faultOf(t, hold(request('pki/roles/web', { method: 'POST', data: {} })))
  t.equal(error.fault, 'read_denied')
  t.match(error.message, 'path "pki/roles/web" { capabilities = ["update"] }')
})

t.test('PUT and POST send their data, and an answer without a lease hangs on no token', async (t) => {
  for (const method of ['PUT', 'POST'] as const) {
    const plaintext = Buffer.from(`by ${method}`).toString('base64')
    const sealed = await hold(request('transit/encrypt/app', { method, data: { plaintext } }))
    t.equal(sealed.token, undefined)
    t.equal(sealed.expiresAt, undefined)
    const ciphertext = text(sealed, 'ciphertext')
    t.match(ciphertext, /^vault:v1:/)
    const opened = await hold(request('transit/decrypt/app', { method, data: { ciphertext } }))
    t.equal(text(opened, 'plaintext'), plaintext)
  }
})

t.test('answers that cannot become files are refused with the reason', async (t) => {
  const post = (path: string, data = {}) => hold(request(path, { method: 'POST', data }))
  const token = await faultOf(t, post('auth/token/create', { policies: ['default'] }))
  t.equal(token.fault, 'call_refused')
  t.match(token.message, 'spec.credentials')
  const empty = await faultOf(t, post('kv1/app', { password: 'x' }))
  t.equal(empty.fault, 'call_refused')
  t.match(empty.message, 'it answered without data')
  t.equal((await faultOf(t, post('kv1/'))).fault, 'call_refused')
  t.equal((await faultOf(t, hold(request('kv1/none')))).fault, 'path_not_found')
})

t.test("the pod's own token", async (t) => {
  t.test('is what the login gave, renewed for as long as Vault lets it', async (t) => {
    const held = await hold({ ...tokenOrder, renewAt: 10 }, as('short'))
    t.equal(text(held, 'clientToken'), held.token?.token.reveal())
    t.equal(text(held, 'accessor'), held.token?.accessor)
    t.equal(valueToNumber(held.data.values.get('leaseDuration')), 2)
    t.equal(textOf(held.data.values.get('renewable') ?? ''), 'true')
    await sleep(600)
    const renewed = await issuer.renew(held, patient)
    t.ok(renewed?.token?.token.equals(held.token?.token as never), 'the same token lives on')
    await issuer.revoke({ ...held, ...renewed }, patient)
    t.notOk((await loginTokens(admin)).includes(text(held, 'accessor')))
  })

  t.test('may be a batch token, which cannot be revoked', async (t) => {
    const held = await hold(tokenOrder, as('batch'))
    t.equal(held.token?.isBatch, true)
    t.equal(text(held, 'accessor'), '')
    await issuer.revoke(held, patient)
  })
})

t.test('two logins give two tokens', async (t) => {
  const [one, other] = await Promise.all([
    issuer.logIn(identity, [podToken()], patient),
    issuer.logIn(identity, [podToken()], patient),
  ])
  t.notOk(one.token.equals(other.token))
})
