import t from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import type { Pod } from '../../src/core/ports/pod.ts'
import { createKubeClient } from '../../src/kube/client.ts'
import { createKubeNotifier } from '../../src/kube/events.ts'
import { createKubeImports } from '../../src/kube/imports.ts'
import { loadConnection } from '../../src/kube/load.ts'
import { createTokenRequests } from '../../src/kube/tokens.ts'
import { FakeLog } from '../fakes/log.ts'
import { createNamespace, installCrd, kubectl, mustKubectl, noCluster } from '../harness/cluster/cluster.ts'
import { findComponent } from '../harness/cluster/component.ts'
import { importManifest } from '../harness/cluster/manifests.ts'
import { faulty } from '../harness/faulty.ts'
import { realClock } from '../harness/real-clock.ts'
import { until } from '../harness/until.ts'

const namespace = `imports-${process.pid}`
const never = new AbortController().signal
const clock = realClock

t.test('the API side on a real cluster', { skip: noCluster }, async (t) => {
  await installCrd()
  t.teardown(createNamespace(namespace))
  const connection = loadConnection({ clock, env: process.env })
  const client = createKubeClient({ connection, clock })
  const log = new FakeLog()
  const imports = createKubeImports({ client, log, clock })
  const changes: string[] = []
  imports.onChange((changed, name) => changed === namespace && changes.push(name))
  t.teardown(async () => {
    await imports.close()
    client.close()
  })

  const get = (name: string) => imports.get(namespace, name, never)
  const apply = (role: string, name = 'python-backend') => {
    const manifest = importManifest((spec) => Object.assign(spec, { role }))
    Object.assign(manifest.metadata, { namespace, name })
    mustKubectl(['apply', '-f', '-'], manifest)
  }
  /** Milliseconds until the import has the role. */
  const arrivalOf = async (role: string) => {
    const appliedAt = performance.now()
    await until(`role ${role}`, async () => (await get('python-backend')).role === role, {
      timeoutMs: 30_000,
    })
    return performance.now() - appliedAt
  }

  await t.test('an import is read when it is asked for', async (t) => {
    apply('first')
    await imports.start(never)
    t.equal((await get('python-backend')).role, 'first')
    await t.rejects(get('other'), faulty('import_not_found', /there exist "python-backend";/))
  })

  await t.test('an edit and a deletion arrive within 2 s', async (t) => {
    apply('second')
    const edit = await arrivalOf('second')
    t.ok(edit < 2000, `${Math.round(edit)} ms`)
    apply('x', 'goes')
    t.equal((await get('goes')).role, 'x')
    changes.length = 0
    mustKubectl(['delete', 'ssi', 'goes', '-n', namespace])
    await until('the deletion', () => changes.includes('goes'), { timeoutMs: 2000 })
    await t.rejects(get('goes'), faulty('import_not_found'))
  })

  await t.test('a changed label does not change the import', async (t) => {
    changes.length = 0
    mustKubectl(['label', 'ssi', 'python-backend', '-n', namespace, 'a=b'])
    apply('x', 'last')
    await get('last')
    apply('y', 'last')
    await until('the one after it', () => changes.length > 0)
    t.same(changes, ['last'])
  })

  const apiServer = findComponent('apiserver')
  const skip = apiServer === undefined && 'the API server is not ours to stop'
  await t.test(
    'while the API server is down imports are served, and when it is back the watch goes on',
    { skip },
    async (t) => {
      await apiServer?.stop()
      await until('the loss', () => log.messages('warn').length > 0)
      t.equal((await get('python-backend')).role, 'second')
      await t.rejects(get('unheard-of'), faulty('imports_unavailable'))
      await apiServer?.start()
      apply('third')
      const first = await arrivalOf('third')
      t.comment(`the first edit after the restart arrived in ${Math.round(first)} ms`)
      t.ok(first < 20_000)
      apply('fourth')
      const edit = await arrivalOf('fourth')
      t.ok(edit < 2000, `${Math.round(edit)} ms`)
      mustKubectl(['delete', 'ssi', 'last', '-n', namespace])
      const isGone = async () => (await told(() => get('last'))) !== ''
      await until('the deletion', isGone, { timeoutMs: 20_000 })
    },
  )

  const pod = await createPod()

  await t.test('a requested token is bound to the pod and has the audience', async (t) => {
    const tokens = createTokenRequests({ client, clock })
    const token = await tokens.request(pod, 'vault.example.org', never)
    const claims = JSON.parse(Buffer.from(token.token.reveal().split('.')[1] ?? '', 'base64url').toString())
    t.match(claims, {
      aud: ['vault.example.org'],
      sub: `system:serviceaccount:${namespace}:default`,
      'kubernetes.io': { namespace, pod: { name: pod.name, uid: pod.uid } },
    })
    t.equal(claims.exp * 1000, token.expiresAt)
    t.equal(claims.exp - claims.iat, 3600)
    t.equal(await tokens.request(pod, 'vault.example.org', never), token, 'held, not asked for again')
    await t.rejects(
      tokens.request({ ...pod, uid: 'another' }, 'vault.example.org', never),
      faulty('token_missing', /a token for audience "vault\.example\.org" was refused/),
    )
  })

  await t.test('without the right to it the message names the right', async (t) => {
    const account = createTokenRequests({ client, clock })
    const { token } = await account.request(pod, 'https://kubernetes.default.svc', never)
    const asPod = createKubeClient({
      connection: {
        ...connection,
        credentials: {
          current: async () => ({ ...(await connection.credentials.current()), token }),
          expire: () => {},
        },
      },
      clock,
    })
    t.teardown(() => asPod.close())
    await t.rejects(
      createTokenRequests({ client: asPod, clock }).request(pod, 'vault', never),
      faulty(
        'token_missing',
        /cannot create resource "serviceaccounts\/token".*grant the plugin create on serviceaccounts\/token/,
      ),
    )
    const refused = createKubeImports({ client: asPod, log: new FakeLog(), clock })
    const stop = new AbortController()
    const starting = refused.start(stop.signal).catch(() => {})
    await until('the refusal', async () =>
      (await told(() => refused.get(namespace, 'x', never))).includes('ClusterRole needs list and watch'),
    )
    stop.abort()
    await starting
    await refused.close()
  })

  await t.test('events stand at the pod, once for the same words, and none come by themselves', async (t) => {
    const eventLog = new FakeLog()
    const notifier = createKubeNotifier({
      client,
      log: eventLog,
      clock,
      driverName: 'secrets.example.org',
      nodeId: 'node1',
    })
    const denied = new FaultError('read_denied', { path: 'secret/data/app', role: 'app' })
    for (let times = 0; times < 20; times += 1) notifier.failed(pod, 'python-backend', denied)
    notifier.recovered(pod, 'python-backend')
    notifier.rotated(pod, 'python-backend', ['db-password'])
    await until('the events', () => eventsOf(pod).length === 3)
    const written = eventsOf(pod)
    t.same(eventLog.lines, [])
    t.match(
      written.find(({ reason }) => reason === 'SecretsStoreImportFailed'),
      {
        type: 'Warning',
        message: `python-backend: ${denied.message}`,
        involvedObject: { kind: 'Pod', name: pod.name, uid: pod.uid },
        reportingComponent: 'secrets.example.org',
        reportingInstance: 'node1',
      },
    )
    const described = mustKubectl(['describe', 'pod', pod.name, '-n', namespace])
    t.match(
      described,
      /Warning +SecretsStoreImportFailed .*secrets\.example\.org +python-backend: Vault refused to read/,
    )
    t.match(described, /Normal +SecretsStoreImportRotated .*python-backend: updated db-password/)

    const versions = written.map(({ metadata }) => metadata.resourceVersion)
    await new Promise((resolve) => setTimeout(resolve, 2000))
    t.same(
      eventsOf(pod).map(({ metadata }) => metadata.resourceVersion),
      versions,
    )
    await notifier.close(never)
  })

  await t.test('a repetition is a series that the API server takes', async (t) => {
    const eventLog = new FakeLog()
    let skippedMs = 0
    const later = { ...clock, monotonic: () => clock.monotonic() + skippedMs }
    const notifier = createKubeNotifier({
      client,
      log: eventLog,
      clock: later,
      driverName: 'd.example.org',
      nodeId: 'node1',
    })
    const sealed = new FaultError('sealed', { address: 'https://vault' })
    notifier.failed(pod, 'python-backend', sealed)
    await until('the event', () => eventsOf(pod).some(({ message }) => message.includes('is sealed')))
    skippedMs = 11 * 60_000
    notifier.failed(pod, 'python-backend', sealed)
    await until('the series', () => eventsOf(pod).some(({ series }) => series?.count === 2))
    t.same(eventLog.lines, [])
    await notifier.close(never)
  })
})

type Event = {
  metadata: { resourceVersion: string }
  reason: string
  message: string
  series?: { count: number }
}

function eventsOf(pod: Pod): Event[] {
  const selector = `--field-selector=involvedObject.uid=${pod.uid}`
  const all = mustKubectl(['get', 'events', '-n', pod.namespace, selector, '-o', 'json'])
  return JSON.parse(all).items.filter(({ reason }: Event) => reason.startsWith('SecretsStoreImport'))
}

/** A pod that no node runs: nothing here needs it to. */
async function createPod(): Promise<Pod> {
  await until('the service account', () => kubectl(['get', 'sa', 'default', '-n', namespace]).status === 0)
  const created = mustKubectl(['create', '-f', '-', '-o', 'json'], {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'app', namespace },
    spec: { containers: [{ name: 'app', image: 'none.invalid/none' }], schedulerName: 'nobody' },
  })
  return { name: 'app', namespace, uid: JSON.parse(created).metadata.uid, serviceAccount: 'default' }
}

async function told(get: () => Promise<unknown>): Promise<string> {
  try {
    await get()
    return ''
  } catch (error) {
    return String(error)
  }
}
