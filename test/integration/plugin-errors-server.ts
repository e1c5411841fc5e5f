import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { startFakeVault } from '../fakes/fake-vault.ts'
import { freePort } from '../harness/free-port.ts'
import { createCertificateAuthority } from '../harness/pki/certificates.ts'
import { startRealNode } from '../harness/plugin/real-node.ts'
import { createRefusals } from '../harness/plugin/refusals.ts'

// The rows of the table "Errors that users meet" about connections and the state of the server.

const node = await startRealNode(t, { args: ['--allow-address=*', '--allow-http', '--rotation-interval=1h'] })
const { refused, checkLog } = createRefusals(node)
const { front } = node

t.test('a Vault that cannot be spoken to', async (t) => {
  await t.test('a port without a listener', async (t) => {
    const address = `http://127.0.0.1:${await freePort()}`
    const says = [`Vault at ${address} cannot be reached (connection refused)`, 'keep their last good files']
    await refused(t, { spec: { address }, code: 'UNAVAILABLE', says })
  })
  await t.test('its name does not resolve', async (t) => {
    const address = 'http://vault.invalid:8200'
    await refused(t, { spec: { address }, code: 'UNAVAILABLE', says: [address, 'DNS'] })
  })
  await t.test('it answers no HTTP', async (t) => {
    const web = await startFakeVault(() => ({ status: 200, body: '<html>canary</html>' }))
    t.teardown(web.close)
    const says = ['something that is not JSON: is it a Vault?', web.address]
    await refused(t, { spec: { address: web.address }, code: 'UNAVAILABLE', says })
  })
})

t.test('a Vault that does not serve at the moment', async (t) => {
  const fake = await startFakeVault()
  t.teardown(fake.close)
  const cases = [
    { status: 503, errors: ['Vault is sealed'], says: [`Vault at ${fake.address} is sealed`, 'unseal it'] },
    { status: 473, errors: [], says: ['is a standby', 'the active node'] },
    { status: 307, errors: [], says: ['is a standby', 'it redirects to http://active.example:8200'] },
    { status: 500, errors: ['internal error'], says: ['answered 500', 'internal error', "see Vault's log"] },
    { status: 502, errors: [], says: ['answered 502'] },
  ]
  for (const { status, errors, says } of cases) {
    await t.test(`answering ${status}`, async (t) => {
      fake.answer(() => ({
        status,
        headers: { location: 'http://active.example:8200/v1/x' },
        body: { errors },
      }))
      const wish = { serviceAccount: `at-${status}` }
      await refused(t, {
        spec: { address: fake.address },
        wish,
        code: 'UNAVAILABLE',
        says: [...says, 'tried again'],
      })
    })
  }
  await t.test('answering 429', async (t) => {
    fake.answer(() => ({ status: 429, headers: { 'Retry-After': '17' }, body: { errors: ['slow down'] } }))
    const says = ['asks for fewer requests (429)', 'slow down', 'tried again in 17 s', '--vault-qps']
    await refused(t, { spec: { address: fake.address }, code: 'UNAVAILABLE', says })
  })
})

t.test('TLS', async (t) => {
  const authority = createCertificateAuthority('right CA')
  const caCert = createCertificateAuthority('wrong CA').certificate
  const yesterday = new Date(Date.now() - 86_400_000)
  const listen = async (certificate: { certificate: string; key: string }) => {
    const server = createTlsServer(
      { cert: certificate.certificate, key: certificate.key },
      (_request, answer) => answer.end('{}'),
    )
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => server.close())
    return `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  const address = await listen(authority.issue(['127.0.0.1']))
  const code = 'FAILED_PRECONDITION'
  await t.test('an unknown authority', async (t) => {
    const words = 'x509: certificate signed by an unknown authority'
    const says = [`TLS to ${address} failed (${words})`, "Node's own CAs", 'spec.caCert', '--vault-ca-cert']
    await refused(t, { spec: { address }, code, says })
    await refused(t, {
      spec: { address, caCert },
      code,
      says: [words, "checked against the import's caCert"],
    })
  })
  await t.test('another name', async (t) => {
    const spec = { address, caCert: authority.certificate, tlsServerName: 'vault.example' }
    await refused(t, { spec, code, says: ['another name', 'spec.tlsServerName'] })
  })
  await t.test('an expired certificate', async (t) => {
    const old = await listen(authority.issue(['127.0.0.1'], { notBefore: new Date(0), notAfter: yesterday }))
    const spec = { address: old, caCert: authority.certificate }
    await refused(t, { spec, code, says: ['has expired', 'a new certificate on the Vault server'] })
  })
  await t.test('http where https is spoken, and the other way round', async (t) => {
    await refused(t, {
      spec: { address: front.address.replace('http:', 'https:') },
      code,
      says: ['does not speak TLS', 'to http://'],
    })
  })
})

t.test('every refusal was logged once', (t) => checkLog(t))
