import t from 'tap'
import { startSlowProxy } from '../fakes/slow-proxy.ts'
import { createCertificateAuthority } from '../harness/pki/certificates.ts'
import { realClock } from '../harness/real-clock.ts'
import { setUpKv, startOpenBaoBench } from '../harness/vault/openbao-bench.ts'
import { createVaultBench, patient, testIdentity } from '../harness/vault/vault-bench.ts'

const PATH = 'kv1/app'
const portOf = (address: string) => Number(new URL(address).port)

t.test('sealed, stopped, slow, limited', async (t) => {
  const bench = await startOpenBaoBench(t, { storage: 'file', callTimeoutMs: 500 })
  const { admin, bao, read, faultOf } = bench
  await setUpKv(admin)
  await admin.write(PATH, { password: 'x' })
  await read(PATH)
  const before = await faultOf(t, 'secret/data/none')
  t.equal(before.fault, 'path_not_found')

  await t.test('a sealed Vault, for a read and for a login', async (t) => {
    await bao.seal()
    for (const identity of [bench.identity, testIdentity(bao.address, { role: 'fresh' })]) {
      const error = await faultOf(t, PATH, { identity })
      t.equal(error.fault, 'sealed')
      t.match(error.message, `Vault at ${bao.address} is sealed`)
      t.match(error.message, 'tried again')
    }
    await bao.unseal()
    t.ok(await read(PATH))
  })

  await t.test('a stopped Vault, and the same token when it is back', async (t) => {
    await bao.stop()
    const error = await faultOf(t, PATH)
    t.equal(error.fault, 'unreachable')
    t.match(error.message, `Vault at ${bao.address} cannot be reached (connection refused)`)
    t.match(error.message, 'keep their last good files')
    await bao.start()
    t.equal((await read(PATH)).values.get('password'), 'x')
    t.equal(bench.meter.count('login jwt ok'), 1)
  })

  await t.test('a slow Vault', async (t) => {
    const proxy = await startSlowProxy(portOf(bao.address))
    t.teardown(proxy.close)
    const identity = testIdentity(`http://127.0.0.1:${proxy.port}`)
    proxy.delayMs = 100
    t.ok(await read(PATH, { identity }), 'slow but in time')
    proxy.delayMs = 5_000
    const startedAt = Date.now()
    const error = await faultOf(t, PATH, { identity })
    t.ok(Date.now() - startedAt < 2_000)
    t.equal(error.fault, 'unreachable')
    t.match(error.message, 'no answer in time')
  })

  await t.test('a name that does not resolve', async (t) => {
    const error = await faultOf(t, PATH, { identity: testIdentity('http://vault.invalid:8200') })
    t.equal(error.fault, 'unreachable')
    t.match(error.message, /vault\.invalid:8200.*DNS/)
  })

  await t.test('a rate limit quota', async (t) => {
    await admin.write('sys/quotas/rate-limit/narrow', { rate: 0.1, path: 'kv1/' })
    await read(PATH)
    const error = await faultOf(t, PATH)
    t.equal(error.fault, 'rate_limited')
    t.match(error.message, /429.*rate limit quota exceeded.*tried again in 1 s/)
  })
})

t.test('TLS', async (t) => {
  const authority = createCertificateAuthority('right CA')
  const other = createCertificateAuthority('other CA')
  const good = authority.issue(['vault.test', '127.0.0.1'])
  const { admin, bao, podToken } = await startOpenBaoBench(t, { tls: { ...good, ca: authority.certificate } })
  await setUpKv(admin)
  await admin.write(PATH, { password: 'x' })
  let ca = { pem: authority.certificate, source: '--vault-ca-cert' }
  const { store } = createVaultBench(realClock, { defaultCa: () => ca })
  t.teardown(() => store.close())
  const endpointOf = (more = {}) => ({ ...testIdentity(bao.address).endpoint, ...more })
  const readAs = (more = {}, name = 'app') => {
    const endpoint = endpointOf(more)
    // The store distinguishes identities by their key, which differs with the TLS settings.
    const identity = { ...testIdentity(bao.address, { endpoint }), key: JSON.stringify([name, more]) }
    return store.read(identity, PATH, [podToken()], patient)
  }

  await t.test("the plugin's CA, the import's CA and another server name are honoured", async (t) => {
    t.ok(await readAs({}, 'plugin CA'))
    ca = { pem: other.certificate, source: '--vault-ca-cert' }
    t.ok(await readAs({ caCert: authority.certificate }))
    t.ok(await readAs({ caCert: authority.certificate, tlsServerName: 'vault.test' }))
    t.ok(await readAs({ skipTLSVerify: true }))
  })

  await t.test('a reloaded CA counts from the next call on', async (t) => {
    const error = await readAs({}, 'plugin CA').catch((error) => error)
    t.equal(error.fault, 'tls')
    t.match(error.message, `TLS to ${bao.address} failed (x509: certificate signed by an unknown authority)`)
    t.match(error.message, 'checked against --vault-ca-cert')
    ca = { pem: authority.certificate, source: '--vault-ca-cert' }
    t.ok(await readAs({}, 'plugin CA'))
  })

  await t.test("an import's CA that is not the right one is named as such", async (t) => {
    const error = await readAs({ caCert: other.certificate }).catch((error) => error)
    t.equal(error.fault, 'tls')
    t.match(error.message, /checked against the import's caCert.*next: set spec\.caCert/)
  })

  await t.test('a name that the certificate does not have', async (t) => {
    const error = await readAs({ tlsServerName: 'wrong.test' }).catch((error) => error)
    t.equal(error.fault, 'tls')
    t.match(error.message, /another name.*tlsServerName/)
  })

  await t.test('http spoken to the https port, and https to the http port', async (t) => {
    const plain = await readAs({ address: bao.address.replace('https', 'http') }).catch((error) => error)
    // Go answers in words or, when it has not read the whole request, by a reset: chance decides.
    t.match(plain.fault, /^(tls|unreachable)$/)
    t.match(plain.message, /speaks? https/)
    const secure = await readAs({ address: bao.adminAddress.replace('http', 'https') }).catch(
      (error) => error,
    )
    t.equal(secure.fault, 'tls')
    t.match(secure.message, /does not speak TLS.*next: set spec\.address .* to http:\/\//)
  })
})

t.test('an expired certificate', async (t) => {
  const authority = createCertificateAuthority()
  const yesterday = new Date(Date.now() - 86_400_000)
  const expired = authority.issue(['127.0.0.1'], { notBefore: new Date(0), notAfter: yesterday })
  const { bao, podToken } = await startOpenBaoBench(t, { tls: { ...expired, ca: authority.certificate } })
  const ca = { pem: authority.certificate, source: '--vault-ca-cert' }
  const { store } = createVaultBench(realClock, { defaultCa: () => ca })
  t.teardown(() => store.close())
  const error = await store
    .read(testIdentity(bao.address), PATH, [podToken()], patient)
    .catch((error) => error)
  t.equal(error.fault, 'tls')
  t.match(error.message, /has expired\), checked against --vault-ca-cert.*next: set a new certificate/)
})
