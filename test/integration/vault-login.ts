import t, { type Test } from 'tap'
import type { FaultError } from '../../src/core/faults/fault.ts'
import { type ReviewMode, startTokenReview } from '../fakes/token-review.ts'
import { createCertificateAuthority } from '../harness/pki/certificates.ts'
import { createTokenIssuer } from '../harness/pki/token-issuer.ts'
import { setUpKv, startOpenBaoBench } from '../harness/vault/openbao-bench.ts'
import { createVaultAdmin } from '../harness/vault/vault-admin.ts'
import { testIdentity, testToken } from '../harness/vault/vault-bench.ts'

const PATH = 'kv1/app'
const { admin, bao, issuer, podToken, read, faultOf } = await startOpenBaoBench(t)
await setUpKv(admin)
await admin.write(PATH, { password: 'x' })

/** Everything that was tried must stand in the message. */
function assertFault(t: Test, error: FaultError, fault: string, says: RegExp, mount: string) {
  t.equal(error.fault, fault)
  t.match(error.message, says)
  for (const part of [
    `address ${bao.address}`,
    `auth mount "${mount}"`,
    'role "',
    'service account "',
    'audience "',
    'next: ',
  ]) {
    t.ok(error.message.includes(part), `${part} in: ${error.message}`)
  }
}

t.test('jwt', async (t) => {
  const identity = testIdentity(bao.address)

  t.test('the pod gets in', async (t) => {
    t.equal((await read(PATH, { identity })).values.get('password'), 'x')
  })

  t.test('a role that is not there', async (t) => {
    const error = await faultOf(t, PATH, { identity: testIdentity(bao.address, { role: 'nope' }) })
    assertFault(
      t,
      error,
      'login_denied',
      /role "nope" could not be found.*bao write auth\/jwt\/role\/nope/,
      'jwt',
    )
  })

  t.test('another service account, another namespace', async (t) => {
    const others = [
      { serviceAccount: 'frontend', namespace: 'shop' },
      { serviceAccount: 'backend', namespace: 'office' },
    ]
    for (const { serviceAccount, namespace } of others) {
      const as = testIdentity(bao.address, { serviceAccount, podNamespace: namespace })
      const tokens = [podToken({ serviceAccount, namespace })]
      const error = await faultOf(t, PATH, { identity: as, tokens })
      assertFault(t, error, 'login_denied', /invalid subject/, 'jwt')
      t.match(error.message, `service account "${namespace}/${serviceAccount}"`)
      t.match(error.message, `bound_subject=system:serviceaccount:${namespace}:${serviceAccount}`)
    }
  })

  t.test('a claim that the role binds', async (t) => {
    await admin.writeJwtRole('jwt', 'claims', {
      namespace: 'shop',
      serviceAccount: 'backend',
      audience: 'vault',
      policies: ['app'],
      more: { bound_claims: { '/kubernetes.io/namespace': 'other' } },
    })
    const error = await faultOf(t, PATH, { identity: testIdentity(bao.address, { role: 'claims' }) })
    assertFault(t, error, 'login_denied', /bound_claims/, 'jwt')
  })

  t.test('another audience', async (t) => {
    const as = testIdentity(bao.address, { audience: '' })
    const error = await faultOf(t, PATH, { identity: as, tokens: [podToken({ audience: 'api' })] })
    assertFault(t, error, 'login_audience', /wanted .*role "app".*got "api"/, 'jwt')
  })

  t.test('a token that Vault takes for expired', async (t) => {
    const as = testIdentity(bao.address, { role: 'app', audience: 'vault', serviceAccount: 'late' })
    const error = await faultOf(t, PATH, { identity: as, tokens: [podToken({ ttl: -900 })] })
    assertFault(t, error, 'login_denied', /expired.*clocks/, 'jwt')
  })

  t.test('a token of another cluster', async (t) => {
    const foreign = createTokenIssuer().issue({
      namespace: 'shop',
      serviceAccount: 'backend',
      audience: 'vault',
    })
    const as = testIdentity(bao.address, { serviceAccount: 'foreign' })
    const error = await faultOf(t, PATH, { identity: as, tokens: [testToken(foreign)] })
    assertFault(t, error, 'login_denied', /does not trust this cluster.*next: check keys and issuer/, 'jwt')
  })

  t.test("a caller's address that the role does not allow is a denial with Vault's words", async (t) => {
    await admin.writeJwtRole('jwt', 'far', {
      namespace: 'shop',
      serviceAccount: 'backend',
      audience: 'vault',
      policies: ['app'],
      more: { token_bound_cidrs: ['10.255.255.255/32'] },
    })
    const error = await faultOf(t, PATH, { identity: testIdentity(bao.address, { role: 'far' }) })
    assertFault(t, error, 'login_denied', /permission denied/, 'jwt')
  })

  t.test('a mount that is not there', async (t) => {
    const error = await faultOf(t, PATH, { identity: testIdentity(bao.address, { authMount: 'main-kube' }) })
    assertFault(t, error, 'login_mount', /auth\/main-kube.*spec\.authPath/, 'main-kube')
  })

  t.test('a mount of another kind', async (t) => {
    await admin.write('sys/auth/people', { type: 'userpass' })
    const error = await faultOf(t, PATH, { identity: testIdentity(bao.address, { authMount: 'people' }) })
    assertFault(t, error, 'login_mount', /spec\.authPath/, 'people')
  })

  t.test('a mount that was never configured', async (t) => {
    await admin.write('sys/auth/empty', { type: 'jwt' })
    const error = await faultOf(t, PATH, { identity: testIdentity(bao.address, { authMount: 'empty' }) })
    assertFault(t, error, 'login_mount', /auth\/empty is not configured: could not load/, 'empty')
  })

  t.test('a Vault namespace that is not there', async (t) => {
    const endpoint = { ...identity.endpoint, namespace: 'nowhere' }
    const error = await faultOf(t, PATH, { identity: testIdentity(bao.address, { endpoint }) })
    assertFault(t, error, 'login_mount', /Vault namespace "nowhere".*spec\.namespace/, 'jwt')
  })

  t.test('a Vault namespace with a mount of its own', async (t) => {
    await admin.write('sys/namespaces/office', {})
    const office = createVaultAdmin({ address: bao.address, token: bao.rootToken, namespace: 'office' })
    await office.setUpJwt({ mount: 'jwt', issuerKey: issuer })
    await office.enableKv1('kv1')
    await office.writeReadPolicy('app', [PATH])
    await office.writeJwtRole('jwt', 'app', {
      namespace: 'shop',
      serviceAccount: 'backend',
      audience: 'vault',
      policies: ['app'],
    })
    await office.write(PATH, { password: 'of the office' })
    const endpoint = { ...identity.endpoint, namespace: 'office' }
    const { values } = await read(PATH, { identity: testIdentity(bao.address, { endpoint }) })
    t.equal(values.get('password'), 'of the office')
  })
})

t.test('kubernetes', async (t) => {
  const review = await startTokenReview()
  t.teardown(review.close)
  await admin.write('sys/auth/kubernetes', { type: 'kubernetes' })
  await admin.write('auth/kubernetes/config', {
    kubernetes_host: review.address,
    kubernetes_ca_cert: createCertificateAuthority().certificate,
    token_reviewer_jwt: issuer.issue({ namespace: 'vault', serviceAccount: 'vault', audience: 'api' }),
    disable_local_ca_jwt: true,
  })
  await admin.write('auth/kubernetes/role/app', {
    bound_service_account_names: 'backend',
    bound_service_account_namespaces: 'shop',
    audience: 'vault',
    token_policies: 'app',
  })
  const identityOf = (more = {}) =>
    testIdentity(bao.address, { method: 'kubernetes', authMount: 'kubernetes', ...more })

  t.test('the pod gets in', async (t) => {
    t.equal((await read(PATH, { identity: identityOf() })).values.get('password'), 'x')
  })

  t.test('a role that is not there', async (t) => {
    const error = await faultOf(t, PATH, { identity: identityOf({ role: 'nope' }) })
    assertFault(t, error, 'login_denied', /invalid role name "nope"/, 'kubernetes')
  })

  t.test('a service account that is not bound', async (t) => {
    const as = identityOf({ serviceAccount: 'frontend' })
    const error = await faultOf(t, PATH, { identity: as, tokens: [podToken({ serviceAccount: 'frontend' })] })
    assertFault(
      t,
      error,
      'login_denied',
      /service account name not authorized.*bound_service_account_names=frontend/,
      'kubernetes',
    )
  })

  t.test('a namespace that is not bound', async (t) => {
    const as = identityOf({ podNamespace: 'office' })
    const error = await faultOf(t, PATH, { identity: as, tokens: [podToken({ namespace: 'office' })] })
    assertFault(
      t,
      error,
      'login_denied',
      /namespace not authorized.*bound_service_account_namespaces=office/,
      'kubernetes',
    )
  })

  t.test('another audience', async (t) => {
    const as = identityOf({ audience: 'api' })
    const error = await faultOf(t, PATH, { identity: as, tokens: [podToken({ audience: 'api' })] })
    assertFault(t, error, 'login_audience', /got "api"/, 'kubernetes')
  })

  const modes: ReviewMode[] = ['reviewer-unauthorized', 'reviewer-forbidden', 'unauthenticated']
  for (const mode of modes) {
    t.test(`a TokenReview that ends ${mode}`, async (t) => {
      review.mode = mode
      const error = await faultOf(t, PATH, {
        identity: identityOf({ serviceAccount: `b-${mode}` }),
      })
      assertFault(t, error, 'login_reviewer', /permission denied.*system:auth-delegator/, 'kubernetes')
    })
  }

  t.test('an API server that does not answer', async (t) => {
    await review.close()
    const error = await faultOf(t, PATH, { identity: identityOf({ serviceAccount: 'alone' }) })
    assertFault(t, error, 'login_reviewer', /kubernetes_host/, 'kubernetes')
  })

  t.test('a mount that is not there', async (t) => {
    const error = await faultOf(t, PATH, { identity: identityOf({ authMount: 'main-kube' }) })
    assertFault(t, error, 'login_mount', /auth\/main-kube.*spec\.authPath/, 'main-kube')
  })
})
