import t from 'tap'
import { normalAddress, pickToken, resolveIdentity } from '../../src/core/identity.ts'
import type { Pod, ServiceAccountToken } from '../../src/core/ports/pod.ts'
import { SecretText } from '../../src/core/secret.ts'
import { importSpec } from '../fakes/imports.ts'
import { faulty } from '../harness/faulty.ts'
import { settings } from '../harness/node-bench.ts'

const pod: Pod = { name: 'a', namespace: 'shop', uid: 'uid-1', serviceAccount: 'app' }
const keyOf = (spec: Parameters<typeof importSpec>[0] = {}, over: Partial<Pod> = {}, caCert?: string) =>
  resolveIdentity(importSpec(spec), settings(), { ...pod, ...over }, caCert).key

t.test('the import speaks first, then the settings', async (t) => {
  const plain = resolveIdentity(importSpec(), settings({ vaultNamespace: '/team/' }), pod)
  t.match(plain, {
    method: 'kubernetes',
    authMount: 'kubernetes',
    role: 'my-namespace1_backend',
    audience: '',
    podNamespace: 'shop',
    serviceAccount: 'app',
    endpoint: { address: 'https://vault.example.org', namespace: 'team', skipTLSVerify: false },
  })
  const own = importSpec({
    authPath: '/main-kube/',
    address: 'https://b/',
    vaultNamespace: 'x',
    audience: 'v',
  })
  t.match(resolveIdentity(own, settings(), pod), {
    authMount: 'main-kube',
    audience: 'v',
    endpoint: { address: 'https://b', namespace: 'x' },
  })
})

t.test('without any address the import is told what to set', async (t) => {
  t.throws(
    () => resolveIdentity(importSpec(), settings({ vaultAddr: undefined }), pod),
    faulty('import_invalid', /spec\.address.*--vault-addr/),
  )
})

t.test('pods of one service account share an identity by kubernetes, not by jwt', async (t) => {
  t.equal(keyOf(), keyOf({}, { name: 'b', uid: 'uid-2' }))
  t.not(keyOf({ authMethod: 'jwt' }), keyOf({ authMethod: 'jwt' }, { uid: 'uid-2' }))
})

t.test('whatever changes who is asked, as whom or with what trust, is another identity', async (t) => {
  const keys = [
    keyOf(),
    keyOf({ role: 'other' }),
    keyOf({ authPath: 'other' }),
    keyOf({ vaultNamespace: 'other' }),
    keyOf({ address: 'https://other' }),
    keyOf({ audience: 'other' }),
    keyOf({ authMethod: 'jwt' }),
    keyOf({ skipTLSVerify: true }),
    keyOf({ tlsServerName: 'other' }),
    keyOf({ caCert: 'PEM 1' }),
    keyOf({}, {}, 'PEM 2'),
    keyOf({}, { namespace: 'other' }),
    keyOf({}, { serviceAccount: 'other' }),
  ]
  t.equal(new Set(keys).size, keys.length)
})

t.test("the operator's leave to skip verification covers the operator's own address only", async (t) => {
  const over = settings({ vaultSkipVerify: true, allowAddress: ['*'] })
  t.equal(resolveIdentity(importSpec(), over, pod).endpoint.skipTLSVerify, true)
  t.equal(resolveIdentity(importSpec({ address: 'https://b' }), over, pod).endpoint.skipTLSVerify, false)
})

t.test('the token for an audience', async (t) => {
  const token = (name: string): ServiceAccountToken => ({ token: new SecretText(name), expiresAt: 0 })
  const [one, two] = [token('one'), token('two')]
  t.equal(pickToken(new Map([['v', one]]), 'v'), one)
  t.equal(pickToken(new Map([['v', one]]), 'w'), undefined)
  t.equal(pickToken(new Map([['v', one]]), ''), one, 'the only one')
  t.equal(
    pickToken(
      new Map([
        ['v', one],
        ['', two],
      ]),
      '',
    ),
    two,
    "the API server's own",
  )
  t.equal(
    pickToken(
      new Map([
        ['v', one],
        ['w', two],
      ]),
      '',
    ),
    undefined,
    'nobody says which',
  )
  t.equal(pickToken(new Map(), ''), undefined)
})

t.test('an address has no slash at its end', async (t) => {
  t.equal(normalAddress('https://a//'), 'https://a')
})
