import t from 'tap'
import { startRealNode } from '../harness/plugin/real-node.ts'
import { createRefusals } from '../harness/plugin/refusals.ts'
import { until } from '../harness/until.ts'

// The rows of the table "Errors that users meet" that can happen without a cluster, as kubelet gets them.
// Those of connections and servers are in plugin-errors-server.ts.

const node = await startRealNode(t, { args: ['--allow-address=*', '--allow-http', '--rotation-interval=1h'] })
const { refused, tried, checkLog } = createRefusals(node)
const { vault } = node
const { admin, review } = vault
await vault.put('app', { password: 'canary-of-a-password', user: 'x' })

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

t.test('a value that does not decode is named only by its file', async (t) => {
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
  await checkLog(t, 2)
  const metrics = await node.metrics()
  t.equal(metrics.sum('publish_duration_seconds_count', { result: 'policy_refused' }), 4)
  await until('the tokens to be revoked', async () => (await vault.loginTokens()).length === 0)
})
