import t, { type Test } from 'tap'
import type { Fault } from '../../src/core/faults/facts.ts'
import type { CaCertRef } from '../../src/core/imports/import.ts'
import { createKubeReferences } from '../../src/kube/references.ts'
import { FakeClock } from '../fakes/clock.ts'
import { FakeKubeApi, status } from '../fakes/kube-api.ts'
import { faulty } from '../harness/faulty.ts'
import { createCertificateAuthority } from '../harness/pki/certificates.ts'

const never = new AbortController().signal
const PEM = createCertificateAuthority().certificate
const configMap: CaCertRef = { kind: 'ConfigMap', name: 'vault-ca', key: 'ca.crt' }
const secret: CaCertRef = { ...configMap, kind: 'Secret' }

async function bench(t: Test) {
  const api = new FakeKubeApi()
  await api.start()
  const clock = new FakeClock()
  const client = api.client(clock)
  t.teardown(async () => {
    client.close()
    await api.stop()
  })
  api.instead = () => ({ status: 200, body: { data: { 'ca.crt': PEM } } })
  return { api, clock, references: createKubeReferences({ client, clock }) }
}

t.test(
  'a CA comes from the ConfigMap in the namespace and is not asked for again within a minute',
  async (t) => {
    const { api, clock, references } = await bench(t)
    t.equal(await references.caCert('shop', configMap, never), PEM)
    await clock.advance(59_000)
    await Promise.all([1, 2, 3].map(() => references.caCert('shop', configMap, never)))
    t.match(api.seen, [{ method: 'GET', path: '/api/v1/namespaces/shop/configmaps/vault-ca' }])
    t.equal(api.seen.length, 1)
    await clock.advance(2_000)
    await Promise.all([1, 2, 3].map(() => references.caCert('shop', configMap, never)))
    t.equal(api.seen.length, 2)
  },
)

t.test('a CA comes from a Secret', async (t) => {
  const { api, references } = await bench(t)
  api.instead = () => ({ status: 200, body: { data: { 'ca.crt': Buffer.from(PEM).toString('base64') } } })
  t.equal(await references.caCert('shop', secret, never), PEM)
  t.match(api.seen, [{ path: '/api/v1/namespaces/shop/secrets/vault-ca' }])
})

t.test('while the API server is down or fails, the last CA stays in use', async (t) => {
  const { api, clock, references } = await bench(t)
  await references.caCert('shop', configMap, never)
  await clock.advance(120_000)
  api.instead = () => status(503, 'ServiceUnavailable', 'starting')
  t.equal(await references.caCert('shop', configMap, never), PEM)
  await api.stop()
  t.equal(await references.caCert('shop', configMap, never), PEM)
  await t.rejects(
    references.caCert('shop', { ...configMap, name: 'other' }, never),
    faulty('reference_unavailable', /ConfigMap "shop\/other".*API server at/),
  )
})

t.test('faults of a reference have names, never content', async (t) => {
  const { api, references } = await bench(t)
  const cases: [object, RegExp][] = [
    [status(404, 'NotFound', 'no'), /ConfigMap "shop\/vault-ca" does not exist.*correct spec\.caCertRef/],
    [{ status: 200, body: { data: { a: 'x', b: 'x' } } }, /has no key "ca\.crt"; there are: a, b/],
    [{ status: 200, body: {} }, /has no key "ca\.crt"; there are: none/],
    [{ status: 200, body: { data: { 'ca.crt': 'canary' } } }, /key "ca\.crt" of ConfigMap "shop\/vault-ca"/],
  ]
  for (const [answer, message] of cases) {
    api.instead = () => answer as ReturnType<NonNullable<typeof api.instead>>
    const error = await references.caCert('shop', configMap, never).catch((fault: Error) => fault)
    t.match(error, faulty('reference_missing', message))
    t.notMatch(String(error), /canary/)
  }
})

t.test('a refusal names the switch that grants it', async (t) => {
  const { api, references } = await bench(t)
  api.instead = () => status(403, 'Forbidden', 'cannot get resource')
  await t.rejects(
    references.caCert('shop', secret, never),
    faulty('reference_unavailable', /403 Forbidden.*rbac\.secrets=true/),
  )
})

const secretIdRef = { name: 'app-role', key: 'secret-id' }
const holding = (text: string) => ({
  status: 200,
  body: { data: { 'secret-id': Buffer.from(text).toString('base64'), 'other-key': 'b3RoZXI=' } },
})

t.test('a secret ID is read for each request, once for concurrent ones', async (t) => {
  const { api, references } = await bench(t)
  api.instead = () => holding('old-id\n')
  t.equal((await references.secretId('shop', secretIdRef, never)).reveal(), 'old-id')
  t.match(api.seen, [{ method: 'GET', path: '/api/v1/namespaces/shop/secrets/app-role' }])
  api.instead = () => holding('new-id')
  const all = await Promise.all([1, 2, 3].map(() => references.secretId('shop', secretIdRef, never)))
  t.strictSame(new Set(all.map((text) => text.reveal())), new Set(['new-id']))
  t.equal(api.seen.length, 2)
})

t.test('a secret ID of a megabyte of line ends costs no time, nor does a name of every object', async (t) => {
  const { api, references } = await bench(t)
  const text = `${'\n'.repeat(700_000)}x`
  api.instead = () => holding(text)
  const before = process.threadCpuUsage()
  t.equal((await references.secretId('shop', secretIdRef, never)).reveal(), text)
  const { user, system } = process.threadCpuUsage(before)
  t.ok((user + system) / 1000 < 200, `${(user + system) / 1000} ms of CPU`)
  const ref = { ...secretIdRef, key: 'constructor' }
  await t.rejects(
    references.secretId('shop', ref, never),
    faulty('reference_missing', /no key "constructor"/),
  )
})

t.test('a secret ID that is not there is never replaced by the one that was', async (t) => {
  const { api, references } = await bench(t)
  api.instead = () => holding('canary')
  await references.secretId('shop', secretIdRef, never)
  api.instead = () => status(503, 'ServiceUnavailable', 'starting')
  const error = await references.secretId('shop', secretIdRef, never).catch((fault: Error) => fault)
  t.match(error, faulty('reference_unavailable', /spec\.appRole\.secretIdRef.*Secret "shop\/app-role".*503/))
  t.notMatch(String(error), /canary/)
})

t.test("faults of a secret ID's Secret have field, name and key", async (t) => {
  const { api, references } = await bench(t)
  const cases: [object, Fault, RegExp][] = [
    [
      status(404, 'NotFound', 'no'),
      'reference_missing',
      /"shop\/app-role" does not exist.*correct spec\.appRole\.secretIdRef/,
    ],
    [
      { status: 200, body: { data: { other: 'b3RoZXI=' } } },
      'reference_missing',
      /no key "secret-id"; there are: other/,
    ],
    [holding('\n'), 'reference_missing', /key "secret-id" of Secret "shop\/app-role" is empty/],
    [status(403, 'Forbidden', 'cannot get resource'), 'reference_unavailable', /rbac\.secrets=true/],
  ]
  for (const [answer, fault, message] of cases) {
    api.instead = () => answer as ReturnType<NonNullable<typeof api.instead>>
    await t.rejects(references.secretId('shop', secretIdRef, never), faulty(fault, message))
  }
})
