import { readdirSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type AppPod, MOUNT } from '../harness/cluster/app-pod.ts'
import { kubectl } from '../harness/cluster/cluster.ts'
import { notOurs } from '../harness/cluster/component.ts'
import { startKubeNode } from '../harness/cluster/kube-node.ts'
import { PATH, ROLE } from '../harness/cluster/kube-vault.ts'
import { NAMESPACE, passwordFile } from '../harness/cluster/team.ts'
import { until } from '../harness/until.ts'

/** An edit reaches the running pod in this time, in milliseconds. */
const SECONDS = 5_000

t.setTimeout(300_000)

t.test('imports are edited, deleted, and ask for more than the default', { skip: notOurs }, async (t) => {
  const node = await startKubeNode(t, { httpsAllowed: true })
  const { vault, api } = node
  await vault.put('database-for-python-app', { password: 'first', user: 'app' })
  await node.applyImport('python-backend')
  await node.applyImport('other')

  await t.test('an edit', async (t) => {
    const pod = await node.createPod({ name: 'edited' })
    const other = await node.createPod({ name: 'not-edited', importName: 'other' })
    await pod.running()
    await other.running()
    const before = stateOf(other)

    await t.test('reaches the running pod within seconds, and no other volume', async (t) => {
      const editedAt = performance.now()
      const userFile = { name: 'db-user', source: { path: PATH, key: 'user' } }
      await node.applyImport('python-backend', { role: ROLE, files: [passwordFile, userFile] })
      await until('the new file', () => pod.read('db-user') === 'app', { timeoutMs: SECONDS })
      t.comment(`after ${Math.round(performance.now() - editedAt)} ms`)
      t.equal(await pod.exec('app', 'cat', `${MOUNT}/db-user`), 'app')
      t.strictSame(stateOf(other), before)
    })

    await t.test('that takes a file away does so', async (t) => {
      await node.applyImport('python-backend')
      const isGone = () => !readdirSync(pod.target).includes('db-user')
      await until('the file to go', isGone, { timeoutMs: SECONDS })
      t.equal(await pod.exec('app', 'cat', `${MOUNT}/db-password`), 'first')
    })

    await t.test('of the last kind, deletion, leaves the files and warns', async (t) => {
      const files = stateOf(pod)
      await node.removeImport('python-backend')
      const warning = await pod.event(/SecretsStoreImport "python-backend" not found.*there exist.*"other"/)
      t.match(warning, { type: 'Warning', reason: 'SecretsStoreImportFailed' })
      t.strictSame(stateOf(pod), files)
      t.equal(await pod.exec('app', 'cat', `${MOUNT}/db-password`), 'first')
      await vault.put('database-for-python-app', { password: 'second', user: 'app' })
      await node.applyImport('python-backend')
      await until('the volume to go on', () => pod.read('db-password') === 'second')
      t.match(await pod.event(/the files are up to date/), {
        type: 'Normal',
        reason: 'SecretsStoreImportRecovered',
      })
    })
    await node.removePods()
  })

  await t.test(
    'an audience of its own comes by TokenRequest, one that the CSIDriver lists with the pod',
    async (t) => {
      const audiences = [
        ['own-audience', 'vault.example.org'],
        ['listed-audience', 'vault'],
      ] as const
      for (const [name, audience] of audiences) {
        await vault.writeRole(name, { audience })
        await node.applyImport(name, { role: name, audience, files: [passwordFile] })
        const pod = await node.createPod({ name, importName: name })
        await pod.running()
        t.equal(await pod.exec('app', 'cat', `${MOUNT}/db-password`), 'second')
        await vault.put('database-for-python-app', { password: 'third', user: 'app' })
        await until('the new value', () => pod.read('db-password') === 'third')
        await vault.put('database-for-python-app', { password: 'second', user: 'app' })
        await pod.remove()
      }
      await vault.put('database-for-python-app', { password: 'third', user: 'app' })
    },
  )

  await t.test('tokens that kubelet passes in secrets', { skip: noTokensInSecrets() }, async (t) => {
    const driver = '/apis/storage.k8s.io/v1/csidrivers/secrets-store.csi.deckhouse.io'
    await api.patch(driver, { spec: { serviceAccountTokenInSecrets: true } })
    t.teardown(() => api.patch(driver, { spec: { serviceAccountTokenInSecrets: null } }))
    const pod = await node.createPod({ name: 'in-secrets' })
    await pod.running()
    t.equal(await pod.exec('app', 'cat', `${MOUNT}/db-password`), 'third')
    await pod.remove()
  })

  await t.test('a second auth mount of the same Vault', async (t) => {
    await vault.put('second', { password: 'of the second mount' })
    await vault.admin.writeReadPolicy('second', ['secret/data/second'])
    await vault.writeRole('second', { mount: 'secondary-kube', policies: ['second'] })
    const source = { path: 'secret/data/second', key: 'password' }
    await node.applyImport('second', {
      role: 'second',
      authPath: 'secondary-kube',
      files: [{ name: 'db-password', source }],
    })
    const pod = await node.createPod({ name: 'second', importName: 'second' })
    await pod.running()
    t.equal(await pod.exec('app', 'cat', `${MOUNT}/db-password`), 'of the second mount')
    await pod.remove()
  })

  await t.test('a CA from a ConfigMap or a Secret of the namespace', async (t) => {
    const { address, caPem = '' } = vault.bao
    const importOf = (more: object) => ({ role: ROLE, address, files: [passwordFile], ...more })
    const ref = (kind: string) => ({ caCertRef: { kind, name: 'vault-ca', key: 'ca.crt' } })
    await node.applyImport('no-ca', importOf({}))
    await node.applyImport('ca-configmap', importOf(ref('ConfigMap')))
    await node.applyImport('ca-secret', importOf(ref('Secret')))
    await api.create(`/api/v1/namespaces/${NAMESPACE}/secrets`, {
      metadata: { name: 'vault-ca' },
      stringData: { 'ca.crt': caPem },
    })
    const without = await node.createPod({ name: 'no-ca', importName: 'no-ca' })
    const inSecret = await node.createPod({ name: 'ca-secret', importName: 'ca-secret' })
    const inConfigMap = await node.createPod({ name: 'ca-configmap', importName: 'ca-configmap' })
    await inSecret.running()
    t.equal(inSecret.read('db-password'), 'third')
    await without.event(/TLS to https:\S+ failed.*next: set .*caCert/)
    await inConfigMap.event(
      /spec\.caCertRef of the import leads nowhere: ConfigMap "my-namespace1\/vault-ca" does not exist; next: create it/,
    )
    await api.create(`/api/v1/namespaces/${NAMESPACE}/configmaps`, {
      metadata: { name: 'vault-ca' },
      data: { 'ca.crt': caPem },
    })
    await inConfigMap.running(130_000)
    t.equal(inConfigMap.read('db-password'), 'third')
    await node.removePods()
  })

  await t.test('nothing is left in Vault', async (t) => t.strictSame(await vault.loginTokens(), []))
})

/** Whatever would show that a volume was written. */
function stateOf({ target }: AppPod): object {
  const { mtimeNs, ino } = statSync(join(target, 'db-password'), { bigint: true })
  return { names: readdirSync(target).sort(), data: readlinkSync(join(target, '..data')), mtimeNs, ino }
}

/** Kubernetes 1.35 and later. */
function noTokensInSecrets(): string | false {
  const field = 'csidriver.spec.serviceAccountTokenInSecrets'
  return kubectl(['explain', field]).status === 0 ? false : `this API server knows no ${field}`
}
