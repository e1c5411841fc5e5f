import t, { type Test } from 'tap'
import type { AppPod, PodWish } from '../harness/cluster/app-pod.ts'
import { notOurs } from '../harness/cluster/component.ts'
import { DRIVER } from '../harness/cluster/host-plugin.ts'
import { startKubeNode } from '../harness/cluster/kube-node.ts'
import { ROLE } from '../harness/cluster/kube-vault.ts'
import { NAMESPACE, passwordFile } from '../harness/cluster/team.ts'

const CSI_DRIVER = `/apis/storage.k8s.io/v1/csidrivers/${DRIVER}`

t.setTimeout(300_000)

t.test('faults are reported as events of the pod, with the next steps', { skip: notOurs }, async (t) => {
  const node = await startKubeNode(t)
  const { vault, api } = node
  await vault.put('database-for-python-app', { password: 'first' })
  await node.applyImport('python-backend')
  const file = (path: string, key: string) => ({ name: 'db-password', source: { path, key } })
  await node.applyImport('wrong-role', { role: 'my-namespace1_backnd', files: [passwordFile] })
  await node.applyImport('wrong-key', {
    role: ROLE,
    files: [file('secret/data/database-for-python-app', 'passwort')],
  })
  await node.applyImport('denied', { role: ROLE, files: [file('secret/data/other-team', 'password')] })
  await node.applyImport('wrong-mount', { role: ROLE, authPath: 'main-cube', files: [passwordFile] })
  await node.createServiceAccount('other-sa')

  const wrongs: { name: string; wish: Partial<PodWish>; says: RegExp }[] = [
    {
      name: 'wrong-service-account',
      wish: { serviceAccount: 'other-sa' },
      says: new RegExp(
        `PermissionDenied.*Vault refused the login.*service account name not authorized.*role "${ROLE}".*"${NAMESPACE}/other-sa".*next: bind them: .bao write auth/main-kube/role/${ROLE} bound_service_account_names=other-sa bound_service_account_namespaces=${NAMESPACE} token_policies=POLICY`,
      ),
    },
    {
      name: 'wrong-role',
      wish: { importName: 'wrong-role' },
      says: /Vault refused the login.*invalid role name.*next: .*auth\/main-kube\/role\/my-namespace1_backnd/,
    },
    {
      name: 'missing-import',
      wish: { importName: 'python-backnd' },
      says: /NotFound.*SecretsStoreImport "python-backnd" not found in namespace "my-namespace1"; there exist .*"python-backend".*next: create it, or correct volumeAttributes/,
    },
    {
      name: 'missing-key',
      wish: { importName: 'wrong-key' },
      says: /NotFound.*"secret\/data\/database-for-python-app" has no key "passwort".*there exist "password".*next: correct source\.key of file "db-password"/,
    },
    {
      name: 'denied-path',
      wish: { importName: 'denied' },
      says: new RegExp(
        `PermissionDenied.*Vault refused to read "secret/data/other-team".*next: grant it in a policy of role "${ROLE}": path "secret/data/other-team" \\{ capabilities = \\["read"\\] \\}`,
      ),
    },
    {
      name: 'wrong-mount',
      wish: { importName: 'wrong-mount' },
      says: /no auth method answers at auth\/main-cube.*next: set spec\.authPath/,
    },
  ]
  const pods = new Map<string, AppPod>()
  for (const { name, wish } of wrongs) pods.set(name, await node.createPod({ name, ...wish }))

  for (const { name, says } of wrongs) {
    await t.test(name, async (t) => {
      const pod = pods.get(name) as AppPod
      const event = await pod.event(says)
      t.match(event, { type: 'Warning', reason: 'FailedMount', from: 'kubelet' })
      t.notMatch(event.message, /eyJ|[hs]v?[sbr]\.[A-Za-z0-9]{20}/, 'no token')
      t.notOk((await pod.get()).status.containerStatuses?.[0]?.state.running, 'the container has not started')
    })
  }

  await t.test('once it is set right, the pod starts automatically', async (t) => {
    const missing = pods.get('missing-import') as AppPod
    const denied = pods.get('denied-path') as AppPod
    await node.applyImport('python-backnd')
    await vault.put('other-team', { password: 'theirs' })
    await vault.admin.writeReadPolicy(ROLE, [passwordFile.source.path, 'secret/data/other-team'])
    await missing.running(130_000)
    await denied.running(130_000)
    t.equal(missing.read('db-password'), 'first')
    t.equal(denied.read('db-password'), 'theirs')
  })

  await t.test(
    'a CSIDriver without tokenRequests is named as the cause, and which field to set',
    async (t) => {
      const { spec } = await api.get(CSI_DRIVER)
      await node.createServiceAccount('tokenless-sa')
      await vault.writeRole('tokenless', { serviceAccounts: ['tokenless-sa'] })
      await node.applyImport('tokenless', { role: 'tokenless', files: [passwordFile] })
      await api.patch(CSI_DRIVER, { spec: { tokenRequests: null } })
      t.teardown(() => api.patch(CSI_DRIVER, { spec: { tokenRequests: spec.tokenRequests } }))
      const pod = await node.createPod({
        name: 'tokenless',
        importName: 'tokenless',
        serviceAccount: 'tokenless-sa',
      })
      await pod.event(
        /kubelet passed no service-account token.*next: set spec\.tokenRequests .*requiresRepublish: true on the CSIDriver/,
      )
      await api.patch(CSI_DRIVER, { spec: { tokenRequests: spec.tokenRequests } })
      await pod.running(130_000)
      t.equal(pod.read('db-password'), 'first')
    },
  )

  await t.test('of pods that could not start nothing is left when they are deleted', async (t: Test) => {
    await node.removePods()
    t.strictSame(node.plugin.ledger(), [])
    t.strictSame(await vault.loginTokens(), [])
  })
})
