import t from 'tap'
import { notOurs } from '../harness/cluster/component.ts'
import { startKubeNode } from '../harness/cluster/kube-node.ts'
import { ROLE } from '../harness/cluster/kube-vault.ts'
import { NAMESPACE, passwordFile } from '../harness/cluster/team.ts'
import { until } from '../harness/until.ts'

const SECRET = 'database-for-python-app'
const secrets = `/api/v1/namespaces/${NAMESPACE}/secrets`

t.setTimeout(600_000)

t.test('login by AppRole, with the secret ID in a Secret', { skip: notOurs }, async (t) => {
  const node = await startKubeNode(t)
  const { vault, api, plugin } = node
  const { admin } = vault
  const role = 'auth/approle/role/my-app'
  await vault.put(SECRET, { password: 'first' })
  await admin.write('sys/auth/approle', { type: 'approle' })
  // A few seconds: each look must log in, and a changed secret ID shows at once.
  await admin.write(role, { token_policies: ROLE, token_ttl: '4s', token_max_ttl: '4s' })
  const { role_id: roleId } = ((await admin.read(`${role}/role-id`)) as { data: { role_id: string } }).data
  const newSecretId = async () => {
    const { data } = (await admin.write(`${role}/secret-id`)) as { data: { secret_id: string } }
    return data.secret_id
  }
  const setSecret = async (text: string) => {
    const stringData = { 'secret-id': text }
    const found = await api.get(`${secrets}/app-role`)
    if (found === undefined) await api.create(secrets, { metadata: { name: 'app-role' }, stringData })
    else await api.patch(`${secrets}/app-role`, { stringData })
  }
  const importOf = (more: object = {}) => ({
    role: 'my-app',
    authMethod: 'approle',
    authPath: 'approle',
    appRole: { roleId, secretIdRef: { name: 'app-role', key: 'secret-id' } },
    files: [passwordFile],
    ...more,
  })
  await node.applyImport('by-approle', importOf())
  const known: string[] = []
  const makeSecretId = async () => {
    const made = await newSecretId()
    known.push(made)
    return made
  }

  await t.test('without the Secret the event names field and Secret; with it the pod starts', async (t) => {
    const pod = await node.createPod({ name: 'by-approle', importName: 'by-approle' })
    await pod.event(
      /spec\.appRole\.secretIdRef of the import leads nowhere: Secret "my-namespace1\/app-role" does not exist; next: create it/,
    )
    // With a newline, as `echo ID | base64` makes it.
    await setSecret(`${await makeSecretId()}\n`)
    await pod.running(130_000)
    t.equal(pod.read('db-password'), 'first')
  })

  await t.test('a wrong secret ID is reported with role, mount and the command for a new one', async (t) => {
    const pod = await node.createPod({ name: 'goes-on', importName: 'by-approle' })
    await pod.running()
    const wrong = '00000000-0000-0000-0000-00000000dead'
    await setSecret(wrong)
    const warning = await pod.event(/Vault refused the login/, 60_000)
    t.match(warning, { type: 'Warning' })
    t.match(warning.message, /auth mount "approle", role "my-app"/)
    t.match(
      warning.message,
      /bao write -f auth\/approle\/role\/my-app\/secret-id.*spec\.appRole\.secretIdRef/,
    )
    t.notMatch(warning.message, new RegExp(wrong))
    t.equal(pod.read('db-password'), 'first', 'the files stay')
  })

  await t.test('a new secret ID in the Secret counts from the next login', async (t) => {
    await setSecret(await makeSecretId())
    await vault.put(SECRET, { password: 'second' })
    const pods = await api.get(`/api/v1/namespaces/${NAMESPACE}/pods`)
    t.equal(pods.items.length, 2)
    const pod = await node.createPod({ name: 'comes-later', importName: 'by-approle' })
    await pod.running()
    t.equal(pod.read('db-password'), 'second')
    // After a refusal refreshes are spread out: only a change elsewhere can help.
    await until('the others to go on', () => pod.read('db-password') === 'second', { timeoutMs: 60_000 })
  })

  await t.test('no secret ID is in the log, and none on the node', async (t) => {
    const text = JSON.stringify(plugin.log())
    for (const secretId of known) t.notOk(text.includes(secretId))
  })
})
