import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { createCertificateAuthority } from '../support/certificates.ts'
import { startFakeVault } from '../support/fake-vault.ts'
import { freePort } from '../support/free-port.ts'
import type { PodWish } from '../support/pod-volume.ts'
import { startRealNode } from '../support/real-node.ts'
import { until } from '../support/until.ts'

// Each row of the table "Errors that users meet" that can happen without a cluster, as kubelet gets it.

const node = await startRealNode(t, { args: ['--allow-address=*', '--allow-http', '--rotation-interval=1h'] })
const { vault, front } = node
const { admin, review } = vault
await vault.put('app', { password: 'canary-of-a-password', user: 'x' })

let imports = 0

type Case = {
  /** Of the import, beside a file `db-password` from key `password` of `path`. */
  spec?: object
  path?: string
  key?: string
  file?: object
  wish?: Partial<PodWish>
  code: string
  says: readonly (string | RegExp)[]
}

/** Publishes a volume that must be refused, and holds the error against what its reader needs. */
async function refused(
  t: Test,
  { spec, path = 'secret/data/app', key = 'password', file, wish, code, says }: Case,
) {
  imports += 1
  const importName = `import-${imports}`
  const files = [{ name: 'db-password', source: { path, key }, ...file }]
  await node.writeImport(importName, { role: 'app', files, ...spec })
  const error = await node.refusal({ importName, ...wish })
  t.equal(error.code, code, error.details)
  for (const part of says) {
    if (typeof part === 'string') t.ok(error.details.includes(part), `${part} in: ${error.details}`)
    else t.match(error.details, part)
  }
  t.match(error.details, /; next: \S/)
  holdsNoSecret(t, error.details)
  return error
}

function holdsNoSecret(t: Test, text: string) {
  t.notMatch(text, /canary|eyJ|\b(hv[sbr]|[sbr])\.[A-Za-z0-9]{20}/, 'no secret, no token')
  for (const token of front.tokens) t.notOk(text.includes(token), 'no Vault token')
}

/** What every error of a login must name. */
const tried = (role = 'app', mount = 'kubernetes', account = 'shop/backend') => [
  `address ${front.address}`,
  `auth mount "${mount}"`,
  `role "${role}"`,
  `service account "${account}"`,
  'audience "vault"',
]

t.test('an import that is not there', async (t) => {
  await node.writeImport('frontend', {
    role: 'app',
    files: [{ name: 'a', source: { path: 'kv1/a', key: 'a' } }],
  })
  const error = await node.refusal({ importName: 'no-such' })
  t.equal(error.code, 'NOT_FOUND')
  t.match(error.details, /"no-such" not found in namespace "shop"; there exist "frontend"; next: /)
  const elsewhere = await node.refusal({ importName: 'frontend', namespace: 'office' })
  t.equal(elsewhere.code, 'NOT_FOUND')
  t.match(elsewhere.details, /"frontend" not found in namespace "office"; there exist none/)
})

t.test('a login that Vault refuses', async (t) => {
  await t.test('for the role', async (t) => {
    const says = [...tried('nope'), 'invalid role name "nope"', /bao write auth\/kubernetes\/role\/nope /]
    await refused(t, { spec: { role: 'nope' }, code: 'PERMISSION_DENIED', says })
  })
  await t.test('for the service account', async (t) => {
    await vault.writeRole('narrow', { bound_service_account_names: 'frontend' })
    const says = [
      ...tried('narrow'),
      'service account name not authorized',
      'the service account is not bound to the role',
      'bound_service_account_names=backend bound_service_account_namespaces=shop',
    ]
    await refused(t, { spec: { role: 'narrow' }, code: 'PERMISSION_DENIED', says })
  })
  await t.test('for the namespace', async (t) => {
    await vault.writeRole('office', { bound_service_account_namespaces: 'office' })
    const says = [
      ...tried('office'),
      'namespace not authorized',
      "the pod's namespace is not bound to the role",
    ]
    await refused(t, { spec: { role: 'office' }, code: 'PERMISSION_DENIED', says })
  })
  await t.test('for the subject, with the jwt method', async (t) => {
    const says = [...tried('app', 'jwt', 'shop/other'), 'bound_subject=system:serviceaccount:shop:other']
    const spec = { authMethod: 'jwt', authPath: 'jwt' }
    await refused(t, { spec, wish: { serviceAccount: 'other' }, code: 'PERMISSION_DENIED', says })
  })
  await t.test('for the audience', async (t) => {
    await vault.writeRole('audience', { audience: 'another' })
    const says = [...tried('audience'), /audience/, 'got "vault"', "the import's spec.audience"]
    await refused(t, { spec: { role: 'audience' }, code: 'PERMISSION_DENIED', says })
  })
  await t.test('for there is no such auth mount', async (t) => {
    const says = [...tried('app', 'main-kube'), 'no auth method answers at auth/main-kube', 'spec.authPath']
    await refused(t, { spec: { authPath: 'main-kube' }, code: 'FAILED_PRECONDITION', says })
  })
  await t.test('for there is no such Vault namespace', async (t) => {
    const says = ['Vault namespace "nowhere"', 'spec.namespace']
    await refused(t, { spec: { namespace: 'nowhere' }, code: 'FAILED_PRECONDITION', says })
  })
  for (const mode of ['reviewer-unauthorized', 'reviewer-forbidden'] as const) {
    await t.test(`for its TokenReview ends ${mode}`, async (t) => {
      review.mode = mode
      t.teardown(() => {
        review.mode = 'ok'
      })
      const says = [...tried('app', 'kubernetes', `shop/${mode}`), 'TokenReview', 'system:auth-delegator']
      await refused(t, { wish: { serviceAccount: mode }, code: 'PERMISSION_DENIED', says })
    })
  }
  await t.test('for kubelet brought no token', async (t) => {
    const says = ['no service-account token', 'spec.tokenRequests', 'requiresRepublish: true', 'CSIDriver']
    const wish = { tokens: {}, serviceAccount: 'no-token' }
    await refused(t, { wish, code: 'FAILED_PRECONDITION', says })
    const spec = { audience: 'special' }
    const other = ['"special"', 'spec.tokenRequests', 'CSIDriver']
    await refused(t, { spec, code: 'FAILED_PRECONDITION', says: other })
  })
})

t.test('a read that Vault refuses or has nothing for', async (t) => {
  await t.test('the policy does not grant it', async (t) => {
    const says = ['path "locked/data/app" { capabilities = ["read"] }', 'role "app"', 'permission denied']
    await refused(t, { path: 'locked/data/app', code: 'PERMISSION_DENIED', says })
  })
  await t.test('a KV v2 path without data/', async (t) => {
    const says = ['"secret/app"', 'use path "secret/data/app"']
    await refused(t, { path: 'secret/app', code: 'INVALID_ARGUMENT', says })
  })
  await t.test('nothing is there', async (t) => {
    for (const path of ['secret/data/none', 'kv1/none', 'nomount/none']) {
      await refused(t, { path, code: 'NOT_FOUND', says: [`"${path}"`, 'optional: true'] })
    }
  })
  await t.test('its version was deleted', async (t) => {
    await vault.put('deleted', { password: 'x' })
    await admin.delete('secret/data/deleted')
    const says = [/version 1 of "secret\/data\/deleted" was deleted at 2\d{3}-\d\d-\d\dT/, 'undelete']
    await refused(t, { path: 'secret/data/deleted', code: 'NOT_FOUND', says })
  })
  await t.test('its version was destroyed', async (t) => {
    await vault.put('destroyed', { password: 'x' })
    await admin.write('secret/destroy/destroyed', { versions: [1] })
    await refused(t, {
      path: 'secret/data/destroyed',
      code: 'NOT_FOUND',
      says: [/version 1 of "secret\/data\/destroyed" was destroyed/],
    })
  })
  await t.test('it has no such key', async (t) => {
    const says = ['"secret/data/app" has no key "pasword"', 'there exist "password", "user"', '"db-password"']
    await refused(t, { key: 'pasword', code: 'NOT_FOUND', says })
  })
  await t.test('its value is null', async (t) => {
    await admin.write('kv1/null', { password: null })
    await refused(t, { path: 'kv1/null', code: 'NOT_FOUND', says: ['its value is null'] })
  })
})

t.test('a value that does not decode is named by its file alone', async (t) => {
  await vault.put('encoded', { password: 'canary!', odd: 'canaryabc' })
  const path = 'secret/data/encoded'
  for (const [encoding, key] of [
    ['base64', 'password'],
    ['hex', 'password'],
    ['hex', 'odd'],
  ] as const) {
    const says = [`the value for file "db-password" is not valid ${encoding}`]
    await refused(t, { path, key, file: { encoding }, code: 'FAILED_PRECONDITION', says })
  }
  const says = ['the value for file "db-password" is not valid base64']
  await refused(t, { path, file: { decodeBase64: true }, code: 'FAILED_PRECONDITION', says })
})

t.test('files that the volume cannot hold', async (t) => {
  await admin.write('kv1/large', { password: 'x'.repeat(3 << 20) })
  const says = ['6291456 bytes, the volume holds 4194304', '--max-volume-bytes']
  await refused(t, { path: 'kv1/large', code: 'FAILED_PRECONDITION', says })
})

t.test('a Vault that cannot be spoken to', async (t) => {
  await t.test('nobody listens', async (t) => {
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

t.test("what this node's settings do not allow", async (t) => {
  await node.stop()
  const allowed = 'http://vault-2.example:8200'
  await node.start({ args: [`--allow-address=${allowed}`, '--min-refresh-interval=1s'] })
  const cases = [
    { spec: { address: 'https://other.example' }, flag: '--allow-address=https://other.example' },
    { spec: { address: allowed }, flag: '--allow-http' },
    { spec: { skipTLSVerify: true }, flag: '--allow-skip-verify' },
    { spec: { refreshInterval: '500ms' }, flag: '--min-refresh-interval' },
  ]
  for (const { spec, flag } of cases) {
    await t.test(flag, async (t) => {
      const says = ['SecretsStoreImport "shop/import-', Object.keys(spec)[0] ?? '', `set ${flag}`]
      await refused(t, { spec, code: 'FAILED_PRECONDITION', says })
    })
  }
})

t.test('every refusal was logged once, counted by its fault, and left no token in Vault', async (t) => {
  const logged = () => node.log().filter(({ msg }) => msg === 'call failed')
  const failures = await until('the last line of the log', () => logged().length >= imports + 2 && logged())
  t.equal(failures.length, imports + 2)
  for (const { pod, volumeId, code, error } of failures) {
    t.match({ pod, volumeId, code, error }, { pod: { namespace: /./ }, volumeId: /^csi-/, code: /^[A-Z_]+$/ })
    holdsNoSecret(t, JSON.stringify(error))
  }
  const metrics = await node.metrics()
  t.equal(metrics.sum('publish_duration_seconds_count', { result: 'policy_refused' }), 4)
  await until('the tokens to be revoked', async () => (await vault.loginTokens()).length === 0)
})
