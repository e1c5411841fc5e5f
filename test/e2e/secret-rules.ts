import t from 'tap'
import type { SyncedSecret } from '../../src/core/ports/kubernetes.ts'
import type { Pod } from '../../src/core/ports/pod.ts'
import { SecretBytes, SecretText } from '../../src/core/secret.ts'
import { createKubeClient } from '../../src/kube/client.ts'
import { loadConnection } from '../../src/kube/load.ts'
import { createKubeSecretSync } from '../../src/kube/secret-sync.ts'
import { FakeLog } from '../fakes/log.ts'
import { rulesOf } from '../harness/cluster/chart.ts'
import { createNamespace, kubectl, mustKubectl, noCluster } from '../harness/cluster/cluster.ts'
import { connectClusterApi } from '../harness/cluster/cluster-api.ts'
import { faulty } from '../harness/faulty.ts'
import { realClock } from '../harness/real-clock.ts'
import { until } from '../harness/until.ts'

const namespace = `secret-rules-${process.pid}`
const here = `/api/v1/namespaces/${namespace}`
const never = new AbortController().signal

t.setTimeout(180_000)

t.test('synced Secrets, as a real API server has them', { skip: noCluster }, async (t) => {
  const api = await connectClusterApi()
  t.teardown(() => api.close())
  t.teardown(createNamespace(namespace))
  t.teardown(() => kubectl(['delete', 'clusterrole,clusterrolebinding', namespace, '--wait=false']))
  const client = await clientWithChartsRights(t)
  const log = new FakeLog()
  let skippedMs = 0
  const clock = { ...realClock, now: () => realClock.now() + skippedMs }
  const syncOf = (nodeId: string) =>
    createKubeSecretSync({ client, clock, log, driverName: 'd.example.org', nodeId })
  const [one, two] = [syncOf('one'), syncOf('two')]
  const pods = await Promise.all(['web-0', 'web-1', 'web-2'].map(createPod))
  const [first, second, third] = pods as [Pod, Pod, Pod]

  const wanted = (more: Partial<Omit<SyncedSecret, 'data'>> & { data?: object } = {}): SyncedSecret => {
    const { data = { PASSWORD: 'first' }, ...rest } = more
    return {
      namespace,
      name: 'app-secret',
      type: 'Opaque',
      deletionPolicy: 'Delete',
      importName: 'app',
      pod: first,
      data: new Map(Object.entries(data).map(([key, value]) => [key, SecretBytes.fromText(value)])),
      fetchedAt: clock.now(),
      isPerVolume: false,
      ...rest,
    }
  }
  const get = (name = 'app-secret') => api.get(`${here}/secrets/${name}`)
  const values = async (name?: string) => {
    const { data = {} } = await get(name)
    const texts = Object.entries(data).map(([key, value]) => [
      key,
      Buffer.from(`${value}`, 'base64').toString(),
    ])
    return Object.fromEntries(texts)
  }
  const ownersOf = async () =>
    ((await get()).metadata.ownerReferences ?? []).map(({ uid }: { uid: string }) => uid).sort()

  async function createPod(name: string): Promise<Pod> {
    const { metadata } = await api.create(`${here}/pods`, {
      metadata: { name },
      spec: { schedulerName: 'nobody', containers: [{ name: 'app', image: 'none.invalid/none' }] },
    })
    return { name, namespace, uid: metadata.uid, serviceAccount: 'default' }
  }

  await t.test('pods of two nodes make one Secret and own it together', async (t) => {
    await Promise.all([one.sync([wanted()], never), two.sync([wanted({ pod: second })], never)])
    t.same(await values(), { PASSWORD: 'first' })
    t.same(await ownersOf(), [first.uid, second.uid].sort())
    const before = (await get()).metadata.resourceVersion
    skippedMs += 61_000
    await Promise.all([one.sync([wanted()], never), two.sync([wanted({ pod: second })], never)])
    t.equal((await get()).metadata.resourceVersion, before, 'nothing is written where nothing changed')
  })

  await t.test('a change is written once, keys that went are gone, marks of others stay', async (t) => {
    await api.patch(`${here}/secrets/app-secret`, { metadata: { labels: { team: 'a' } } })
    const next = { USER: 'app', TOKEN: 'next' }
    const fetchedAt = clock.now()
    await Promise.all([
      one.sync([wanted({ data: next, fetchedAt })], never),
      two.sync([wanted({ data: next, fetchedAt: fetchedAt + 1, pod: second })], never),
    ])
    t.same(await values(), next)
    t.equal((await get()).metadata.labels.team, 'a')
    t.equal(log.messages().filter((message) => message === 'Kubernetes Secret changed').length, 1)
  })

  await t.test('an older look changes nothing but the owners', async (t) => {
    await two.sync([wanted({ data: { OLD: 'old' }, fetchedAt: clock.now() - 3_600_000, pod: third })], never)
    t.same(await values(), { USER: 'app', TOKEN: 'next' })
    t.same(await ownersOf(), pods.map(({ uid }) => uid).sort())
  })

  await t.test('a Secret to be retained loses its owners, one to be deleted gets them again', async (t) => {
    await one.sync([wanted({ deletionPolicy: 'Retain', data: { KEPT: 'x' } })], never)
    t.same(await ownersOf(), [])
    t.same(await values(), { KEPT: 'x' })
    await one.sync([wanted({ data: { KEPT: 'x' } })], never)
    t.same(await ownersOf(), [first.uid])
  })

  await t.test('what was issued to one pod stays until it has gone', async (t) => {
    const own = (pod: Pod, more: object = {}) =>
      wanted({ name: 'own', isPerVolume: true, pod, data: { OF: pod.name }, ...more })
    for (const deletionPolicy of ['Delete', 'Retain'] as const) {
      const holder = await createPod(`holder-${deletionPolicy.toLowerCase()}`)
      await one.sync([own(holder, { deletionPolicy })], never)
      await two.sync([own(second, { deletionPolicy })], never)
      t.same(await values('own'), { OF: holder.name })
      await api.remove(`${here}/pods/${holder.name}`)
      await until(
        'the other pod to take over',
        async () => {
          skippedMs += 61_000
          await two.sync([own(second, { deletionPolicy })], never)
          return (await values('own')).OF === second.name
        },
        { timeoutMs: 60_000, everyMs: 500 },
      )
      await api.remove(`${here}/secrets/own`)
    }
  })

  await t.test('Secrets of every type are taken', async (t) => {
    await one.sync(
      [
        wanted({
          name: 'docker',
          type: 'kubernetes.io/dockerconfigjson',
          data: { '.dockerconfigjson': '{"auths":{}}' },
        }),
        wanted({ name: 'basic', type: 'kubernetes.io/basic-auth', data: { password: 'x' } }),
        wanted({ name: 'ssh', type: 'kubernetes.io/ssh-auth', data: { 'ssh-privatekey': 'x' } }),
        wanted({ name: 'cfg', type: 'kubernetes.io/dockercfg', data: { '.dockercfg': '{}' } }),
        wanted({ name: 'other', type: 'example.org/other', data: {} }),
      ],
      never,
    )
    t.equal((await get('docker')).type, 'kubernetes.io/dockerconfigjson')
  })

  await t.test('refusals are reported in words for their reader', async (t) => {
    await api.create(`${here}/secrets`, { metadata: { name: 'foreign' }, stringData: { A: 'x' } })
    const before = (await get('foreign')).metadata.resourceVersion
    await t.rejects(one.sync([wanted({ name: 'foreign' })], never), faulty('sync_refused', /did not make/))
    t.equal((await get('foreign')).metadata.resourceVersion, before)
    await t.rejects(
      one.sync([wanted({ type: 'example.org/other', data: { KEPT: 'x' } })], never),
      faulty('sync_refused', /type "Opaque", not "example.org\/other"/),
    )
    await api.create(`${here}/resourcequotas`, {
      metadata: { name: 'few' },
      spec: { hard: { secrets: '1' } },
    })
    await until('the quota to count', async () => {
      const sync = one.sync([wanted({ name: `more-${clock.now()}` })], never)
      const error = await sync.catch((thrown: Error) => thrown)
      return error instanceof Error && error.message
    }).then((message) => t.match(message, /403 Forbidden.*exceeded quota: few.*next: see what refuses it/))
    const elsewhere = wanted({ namespace: `${namespace}-none` })
    await t.rejects(one.sync([elsewhere], never), faulty('sync_refused', /404 NotFound: namespaces/))
  })

  await t.test('with its last pod the Secret goes', async () => {
    for (const { name } of pods) await api.remove(`${here}/pods/${name}`)
    await until('the garbage collector', async () => (await get()) === undefined, {
      timeoutMs: 60_000,
      everyMs: 250,
    })
  })

  t.notMatch(log.text, /"error"|PASSWORD|first"/)
})

/** May do what the chart grants with secretSync.enabled, and no more. */
async function clientWithChartsRights(t: { teardown(task: () => void): void }) {
  mustKubectl(['create', 'serviceaccount', 'plugin', '-n', namespace])
  mustKubectl(['apply', '-f', '-'], {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name: namespace },
    rules: await rulesOf('--set=secretSync.enabled=true'),
  })
  const account = `--serviceaccount=${namespace}:plugin`
  mustKubectl(['create', 'clusterrolebinding', namespace, `--clusterrole=${namespace}`, account])
  const token = new SecretText(mustKubectl(['create', 'token', 'plugin', '-n', namespace]).trim())
  const admin = loadConnection({ clock: realClock, env: process.env })
  const current = async () => ({ ...(await admin.credentials.current()), token, certificate: undefined })
  const client = createKubeClient({
    connection: { ...admin, credentials: { current, expire: () => {} } },
    clock: realClock,
  })
  t.teardown(() => client.close())
  return client
}
