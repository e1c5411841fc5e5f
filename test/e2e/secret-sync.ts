import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { SyncedSecret } from '../../src/core/ports/kubernetes.ts'
import { SecretBytes } from '../../src/core/secret.ts'
import { createKubeClient } from '../../src/kube/client.ts'
import { loadConnection } from '../../src/kube/load.ts'
import { createKubeSecretSync } from '../../src/kube/secret-sync.ts'
import { FakeLog } from '../fakes/log.ts'
import { auditUser, isWrite } from '../harness/cluster/api-audit.ts'
import { type AppPod, container } from '../harness/cluster/app-pod.ts'
import { notOurs } from '../harness/cluster/component.ts'
import { DRIVER, PLUGIN_USER } from '../harness/cluster/host-plugin.ts'
import { startKubeNode } from '../harness/cluster/kube-node.ts'
import { PATH, ROLE } from '../harness/cluster/kube-vault.ts'
import { NAMESPACE, passwordFile } from '../harness/cluster/team.ts'
import { createCertificateAuthority } from '../harness/pki/certificates.ts'
import { realClock } from '../harness/real-clock.ts'
import { until } from '../harness/until.ts'

const SECRET = 'database-for-python-app'
/** A rotation reaches files and Secret in this time, in milliseconds: the plugin's interval is 2 s. */
const SOON_MS = 6_000
/** Nothing changes for so long, in milliseconds; longer than what was in step is not looked at. */
const IDLE_MS = 75_000

t.setTimeout(600_000)

t.test('synced Secrets under a real kubelet', { skip: notOurs }, async (t) => {
  const audit = await auditUser(PLUGIN_USER)
  t.teardown(() => audit.close())
  const node = await startKubeNode(t, { args: ['--allow-secret-sync'], values: ['secretSync.enabled=true'] })
  const { vault, api, plugin } = node
  const authority = createCertificateAuthority()
  const { certificate, key } = authority.issue(['web.example.org'])
  const registry = JSON.stringify({ auths: { 'registry.example.org': { auth: 'bm9ib2R5Om5vdGhpbmc=' } } })
  const put = (password: string) => vault.put(SECRET, { password, certificate, key, registry })
  await put('first')

  const source = (of: string) => ({ path: PATH, key: of })
  const allFiles = [
    passwordFile,
    { name: 'web.crt', source: source('certificate') },
    { name: 'web.key', source: source('key') },
    { name: 'registry.json', source: source('registry') },
  ]
  const env = { name: 'app-env', data: [{ key: 'DB_PASSWORD', file: 'db-password' }] }
  const applySync = (name: string, ...secretSync: readonly object[]) =>
    node.applyImport(name, { role: ROLE, files: allFiles, secretSync })

  const secrets = `/api/v1/namespaces/${NAMESPACE}/secrets`
  const get = (name: string) => api.get(`${secrets}/${name}`)
  const value = async (name: string, ofKey: string) =>
    Buffer.from((await get(name))?.data?.[ofKey] ?? '', 'base64').toString()
  const owners = async (name: string) =>
    ((await get(name))?.metadata.ownerReferences ?? []).map(({ uid }: { uid: string }) => uid).sort()
  const secretWrites = () =>
    audit.calls().filter((call) => call.resource === 'secrets' && isWrite(call)).length
  const envPod = (name: string, importName: string, secret: string): Promise<AppPod> =>
    node.createPod({
      name,
      importName,
      // Ends for good when the variable is not what it must be at the first start.
      restartPolicy: 'Never',
      containers: [
        container('app', 'echo "password is $DB_PASSWORD"; exec sleep 3600', {
          envFrom: [{ secretRef: { name: secret } }],
        }),
      ],
    })

  await t.test('a container gets the value as an environment variable at its first start', async (t) => {
    await applySync('env', env)
    const pod = await envPod('env-0', 'env', 'app-env')
    await pod.running()
    t.equal(await pod.logs('app'), 'password is first\n')
    t.equal(await pod.restarts(), 0)
    t.match((await get('app-env')).metadata, {
      labels: { 'app.kubernetes.io/managed-by': 'vault-files-csi' },
      annotations: { [`${DRIVER}/import`]: 'env', [`${DRIVER}/node`]: 'node1' },
    })
    t.same(await owners('app-env'), [pod.uid])
  })

  await t.test('the Secret follows a rotation with the file, by one write', async (t) => {
    const before = secretWrites()
    await put('second')
    const isThere = async () => (await value('app-env', 'DB_PASSWORD')) === 'second'
    await until('the Secret to follow', isThere, { timeoutMs: SOON_MS, everyMs: 100 })
    t.equal(secretWrites() - before, 1)
  })

  await t.test('certificates and registry logins have their types', async (t) => {
    await applySync(
      'typed',
      {
        name: 'web-tls',
        type: 'kubernetes.io/tls',
        deletionPolicy: 'Retain',
        data: [
          { key: 'tls.crt', file: 'web.crt' },
          { key: 'tls.key', file: 'web.key' },
        ],
      },
      {
        name: 'registry',
        type: 'kubernetes.io/dockerconfigjson',
        data: [{ key: '.dockerconfigjson', file: 'registry.json' }],
      },
    )
    const pod = await node.createPod({ name: 'typed', importName: 'typed' })
    await pod.running()
    t.equal((await get('web-tls')).type, 'kubernetes.io/tls')
    t.equal(await value('web-tls', 'tls.crt'), certificate)
    t.equal((await get('registry')).type, 'kubernetes.io/dockerconfigjson')
    t.equal(await value('registry', '.dockerconfigjson'), registry)
    await pod.remove()
    await until('the garbage collector', async () => (await get('registry')) === undefined, {
      timeoutMs: 60_000,
      everyMs: 250,
    })
    t.ok(await get('web-tls'), 'what is to be retained stays')
  })

  await t.test('a key that does not fit its certificate is reported, and the old Secret stays', async (t) => {
    const pod = await node.createPod({ name: 'misfit', importName: 'typed' })
    await pod.running()
    const other = authority.issue(['web.example.org'])
    await vault.put(SECRET, { password: 'second', certificate, key: other.key, registry })
    const warning = await pod.event(
      /"my-namespace1\/web-tls" would not be valid, key "tls\.key": it is not the key/,
    )
    t.match(warning, { type: 'Warning' })
    t.equal(await value('web-tls', 'tls.key'), key)
    t.equal(pod.read('web.key'), other.key, 'the files are in sync')
    await put('second')
    await pod.event(/the files are up to date/)
    await pod.remove()
  })

  await t.test('a Secret of another owner is never touched, and the event says why', async (t) => {
    await api.create(secrets, { metadata: { name: 'foreign' }, stringData: { DB_PASSWORD: 'theirs' } })
    const before = await get('foreign')
    await applySync('foreign', { ...env, name: 'foreign' })
    const pod = await envPod('foreign-0', 'foreign', 'foreign')
    const warning = await pod.event(
      /Secret "my-namespace1\/foreign" is not kept in step: a Secret of that name exists/,
    )
    t.match(warning, { type: 'Warning' })
    t.match(warning.message, /next: choose another name in spec\.secretSync, or delete that Secret/)
    t.notMatch(warning.message, /theirs|second/)
    t.same(await get('foreign'), before)
    await api.remove(`${secrets}/foreign`)
    await pod.running(130_000)
    t.equal(await pod.logs('app'), 'password is second\n')
    await pod.remove()
  })

  await t.test('an idle time sees no write, and a second node does not fight', async (t) => {
    // With the rights of the plugin itself, and no more.
    const connection = loadConnection({ clock: realClock, env: plugin.env })
    const client = createKubeClient({ connection, clock: realClock })
    const log = new FakeLog()
    const other = createKubeSecretSync({ client, clock: realClock, log, driverName: DRIVER, nodeId: 'node2' })
    const { uid } = (await get('app-env')).metadata.ownerReferences[0]
    const wanted = (text: string, fetchedAt: number): SyncedSecret => ({
      namespace: NAMESPACE,
      name: 'app-env',
      type: 'Opaque',
      deletionPolicy: 'Delete',
      importName: 'env',
      pod: { name: 'env-0', namespace: NAMESPACE, uid, serviceAccount: 'backend-sa' },
      data: new Map([['DB_PASSWORD', SecretBytes.fromText(text)]]),
      fetchedAt,
      isPerVolume: false,
    })
    const abort = new AbortController()
    const before = { writes: secretWrites(), version: (await get('app-env')).metadata.resourceVersion }
    // The second node looks four times a second, and asked Vault a moment before the first one did.
    let current = 'second'
    const looking = (async () => {
      while (!abort.signal.aborted) {
        await other.sync([wanted(current, Date.now())], abort.signal)
        await sleep(250)
      }
    })()
    await sleep(IDLE_MS)
    t.equal(secretWrites() - before.writes, 0)
    t.equal((await get('app-env')).metadata.resourceVersion, before.version)
    const askedBefore = Date.now()
    await put('third')
    await until('the rotation', async () => (await value('app-env', 'DB_PASSWORD')) === 'third', {
      timeoutMs: SOON_MS,
      everyMs: 50,
    })
    await other.sync([wanted('second', askedBefore - 1_000)], abort.signal)
    t.equal(await value('app-env', 'DB_PASSWORD'), 'third', 'an older look changes nothing')
    current = 'third'
    await sleep(5_000)
    abort.abort()
    await looking.catch(() => undefined)
    client.close()
    t.comment(`${secretWrites() - before.writes} writes for one change`)
    t.same(log.messages('warn'), [])
  })

  await t.test('with its last pod the Secret goes', async (t) => {
    const second = await envPod('env-1', 'env', 'app-env')
    await second.running()
    t.equal((await owners('app-env')).length, 2)
    await api.remove(`/api/v1/namespaces/${NAMESPACE}/pods/env-0`)
    const isAlone = async () => (await owners('app-env')).join() === second.uid
    await until('the first owner to go', isAlone, { timeoutMs: 60_000, everyMs: 250 })
    t.equal(await value('app-env', 'DB_PASSWORD'), 'third')
    await second.remove()
    await until('the garbage collector', async () => (await get('app-env')) === undefined, {
      timeoutMs: 60_000,
      everyMs: 250,
    })
  })

  await t.test('no value is in the log', async (t) => {
    const text = JSON.stringify(plugin.log())
    for (const secret of ['"first"', '"second"', '"third"', registry, key.slice(40, 80)]) {
      t.notOk(text.includes(secret))
    }
  })
})
