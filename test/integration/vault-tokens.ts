import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { setUpKv, startOpenBaoBench } from '../harness/vault/openbao-bench.ts'
import { patient, testIdentity } from '../harness/vault/vault-bench.ts'

const { admin, bao, store, meter, podToken, read } = await startOpenBaoBench(t)
await setUpKv(admin)
await admin.write('kv1/app', { password: 'x' })

/** Accessors of all tokens but the root's, with what Vault knows of them. */
async function tokensInVault(role: string): Promise<{ accessor: string; ttl: number }[]> {
  const { data } = (await list('auth/token/accessors')) as { data: { keys: string[] } }
  const all = await Promise.all(
    data.keys.map(async (accessor) => {
      const answer = await admin.write('auth/token/lookup-accessor', { accessor }).catch(() => undefined)
      return (
        answer as { data: { accessor: string; ttl: number; meta: { role?: string } | null } } | undefined
      )?.data
    }),
  )
  return all.filter((token) => token !== undefined).filter((token) => token.meta?.role === role)
}

async function list(path: string): Promise<unknown> {
  return admin.read(`${path}?list=true`)
}

async function roleWith(role: string, ttl: number, more: { maxTtl?: number; more?: object } = {}) {
  await admin.writeJwtRole('jwt', role, {
    namespace: 'shop',
    serviceAccount: 'backend',
    audience: 'vault',
    policies: ['app'],
    ttl,
    ...more,
  })
  return testIdentity(bao.address, { role })
}

// Its token has to be ten seconds old at the end.
const revoked = await roleWith('revoked', 600)
await read('kv1/app', { identity: revoked })
const revokedFrom = Date.now()

t.test('many reads at once make one login and one token', async (t) => {
  const identity = await roleWith('many', 60)
  await Promise.all(Array.from({ length: 20 }, () => read('kv1/app', { identity })))
  t.equal((await tokensInVault('many')).length, 1)
})

t.test('a token of two seconds is renewed on use for as long as it is used', async (t) => {
  const identity = await roleWith('short', 2)
  const logins = meter.count('vault login ok')
  for (let i = 0; i < 6; i++) {
    await read('kv1/app', { identity })
    await sleep(600)
  }
  t.equal(meter.count('vault login ok') - logins, 1)
  t.ok(meter.count('vault renew ok') >= 2)
})

t.test('at its maximum life a token is replaced, without a read that fails', async (t) => {
  const identity = await roleWith('bounded', 2, { maxTtl: 3 })
  const logins = meter.count('vault login ok')
  for (let i = 0; i < 10; i++) {
    await read('kv1/app', { identity })
    await sleep(450)
  }
  const made = meter.count('vault login ok') - logins
  t.ok(made >= 2 && made <= 3, `${made} logins`)
  t.ok(meter.count('vault revoke ok') <= made, 'what was replaced is revoked, unless it has ended')
})

t.test('a token that ended between reads is replaced by a login', async (t) => {
  const identity = await roleWith('ended', 1)
  await read('kv1/app', { identity })
  await sleep(1_300)
  t.equal((await read('kv1/app', { identity })).values.get('password'), 'x')
})

t.test('the token goes with the last volume, and at no other time', async (t) => {
  const identity = await roleWith('counted', 600)
  store.acquire(identity, 'v1')
  store.acquire(identity, 'v2')
  await read('kv1/app', { identity })
  t.equal((await tokensInVault('counted')).length, 1)
  await store.release(identity.key, 'v1', patient)
  t.equal((await tokensInVault('counted')).length, 1)
  await store.release(identity.key, 'v2', patient)
  t.equal((await tokensInVault('counted')).length, 0)
})

t.test('a volume that goes during its login leaves no token in Vault', async (t) => {
  const identity = await roleWith('hasty', 600)
  const abort = new AbortController()
  store.acquire(identity, 'v1')
  const reading = store.read(identity, 'kv1/app', [podToken()], abort.signal)
  setImmediate(() => abort.abort(new Error('unpublished')))
  await reading.catch(() => {})
  await store.release(identity.key, 'v1', patient)
  await sleep(300)
  t.equal((await tokensInVault('hasty')).length, 0)
})

t.test('a token that an operator revoked is replaced once it is old enough', async (t) => {
  const identity = revoked
  const [token] = await tokensInVault('revoked')
  await admin.write('auth/token/revoke-accessor', { accessor: token!.accessor })
  await sleep(Math.max(0, 10_100 - (Date.now() - revokedFrom)))
  t.equal((await read('kv1/app', { identity })).values.get('password'), 'x')
})

t.test('batch tokens, which can be neither renewed nor revoked, serve too', async (t) => {
  const identity = await roleWith('batch', 60, { more: { token_type: 'batch' } })
  store.acquire(identity, 'v1')
  t.equal((await read('kv1/app', { identity })).values.get('password'), 'x')
  await store.release(identity.key, 'v1', patient)
})

t.test('closing leaves the tokens, for the next process of ours', async (t) => {
  const identity = await roleWith('kept', 600)
  store.acquire(identity, 'v1')
  await read('kv1/app', { identity })
  await store.close()
  t.equal((await tokensInVault('kept')).length, 1)
})
