import { execFile } from 'node:child_process'
import { createRequire } from 'node:module'
import { promisify } from 'node:util'
import t from 'tap'
import { createNodeVault } from '../../src/vault/node-vault.ts'
import type { Answer, TransportOptions } from '../../src/vault/transport.ts'
import { startFakeVault } from '../fakes/fake-vault.ts'

const run = promisify(execFile)
const answer = (status: number): Answer => ({
  status,
  body: { errors: ['no'] },
  retryAfter: '7',
  location: undefined,
})

t.test('neither token nor namespace nor prefix comes from the environment', async (t) => {
  const names = ['VAULT_TOKEN', 'VAULT_NAMESPACE', 'VAULT_PREFIX', 'VAULT_ADDR'] as const
  for (const name of names) process.env[name] = `canary-${name}`
  t.teardown(() => {
    for (const name of names) delete process.env[name]
  })
  const seen: TransportOptions[] = []
  const client = createNodeVault('http://vault.test', async (options) => {
    seen.push(options)
    return answer(200)
  })
  await client.request({ path: '/kv1/app', method: 'GET', headers: { 'X-Vault-Token': 's.ours' } })
  await client.request({ path: '/kv1/app', method: 'GET' })
  t.equal(seen[0]!.uri, 'http://vault.test/v1/kv1/app')
  t.same(seen[0]!.headers, { 'X-Vault-Token': 's.ours' })
  t.same(seen[1]!.headers, {}, 'the token of one request does not stay for the next')
  t.notMatch(JSON.stringify(seen), /canary/)
})

t.test(
  'every status comes back with its headers, also one whose path looks like the health check',
  async (t) => {
    const client = createNodeVault('http://vault.test', async () => answer(403))
    t.match(await client.request({ path: '/kv1/app', method: 'GET' }), { status: 403, retryAfter: '7' })
    t.match(await client.request({ path: '/secret/data/sys/health', method: 'GET' }), { status: 403 })
  },
)

t.test('the abort signal reaches the transport', async (t) => {
  const { signal } = new AbortController()
  const client = createNodeVault('http://vault.test', async (options) => {
    t.equal(options.signal, signal)
    return answer(200)
  })
  await client.request({ path: '/kv1/app', method: 'GET', signal })
})

t.test('a client has none of the generated functions', (t) => {
  const client = createNodeVault('http://vault.test', async () => answer(200)) as object
  t.notOk('tokenLookupSelf' in client)
  t.ok(Object.keys(client).length < 40)
  t.end()
})

t.test('axios is not loaded, and a later require gets the real one', (t) => {
  createNodeVault('http://vault.test', async () => answer(200))
  const require = createRequire(import.meta.url)
  const axios = createRequire(require.resolve('node-vault')).resolve('axios')
  t.notOk(axios in require.cache)
  t.type(require(axios).create, 'function')
  t.end()
})

t.test('a whole read prints nothing with DEBUG=* and takes nothing from the environment', async (t) => {
  const vault = await startFakeVault(({ path }) =>
    path.startsWith('auth/')
      ? {
          body: {
            auth: { client_token: 's.canary-login', accessor: 'a', lease_duration: 60, renewable: true },
          },
        }
      : { body: { data: { password: 'canary-password' } } },
  )
  t.teardown(vault.close)
  const script = `
    import { createVaultBench, patient, testIdentity, testToken } from './test/harness/vault-bench.ts'
    import { realClock } from './test/harness/real-clock.ts'
    const { store } = createVaultBench(realClock)
    const data = await store.read(testIdentity('${vault.address}'), 'kv1/app', [testToken('canary-jwt')], patient)
    if (data.values.get('password') !== 'canary-password') process.exit(1)
    await store.close()`
  const env = {
    ...process.env,
    DEBUG: '*',
    DEBUG_COLORS: '0',
    VAULT_TOKEN: 's.canary-env',
    VAULT_NAMESPACE: 'canary-ns',
    VAULT_SKIP_VERIFY: 'true',
    VAULT_ADDR: 'http://127.0.0.1:1',
  }
  const { stdout, stderr } = await run(process.execPath, ['--input-type=module-typescript', '-e', script], {
    env,
  })
  t.equal(stdout + stderr, '')
  t.equal(vault.requests.length, 2)
  t.notMatch(JSON.stringify(vault.requests), /canary-env|canary-ns/)
})
