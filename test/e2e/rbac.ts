import t from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import { SecretText } from '../../src/core/secret.ts'
import { createKubeClient } from '../../src/kube/client.ts'
import { createKubeNotifier } from '../../src/kube/events.ts'
import { createImportStatus } from '../../src/kube/import-status.ts'
import { createKubeImports } from '../../src/kube/imports.ts'
import { loadConnection } from '../../src/kube/load.ts'
import { createTokenRequests } from '../../src/kube/tokens.ts'
import { FakeLog } from '../fakes/log.ts'
import { createNamespace, installCrd, kubectl, mustKubectl, noCluster } from '../harness/cluster/cluster.ts'
import { importManifest } from '../harness/cluster/manifests.ts'
import { realClock } from '../harness/real-clock.ts'
import { until } from '../harness/until.ts'

const namespace = `rbac-${process.pid}`
const never = new AbortController().signal

/** All that the plugin may do, each with its caller. */
const rules = [
  // kube/import-calls.ts, kube/watch.ts
  { apiGroups: ['deckhouse.io'], resources: ['secretsstoreimports'], verbs: ['list', 'watch'] },
  // kube/import-status.ts
  { apiGroups: ['deckhouse.io'], resources: ['secretsstoreimports/status'], verbs: ['patch'] },
  // kube/tokens.ts, for audiences that the CSIDriver does not list
  { apiGroups: [''], resources: ['serviceaccounts/token'], verbs: ['create'] },
  // kube/events.ts: patch is for repetitions
  { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: ['create', 'patch'] },
]

t.test('six verbs on four resources are all that the plugin needs', { skip: noCluster }, async (t) => {
  await installCrd()
  t.teardown(createNamespace(namespace))
  t.teardown(() => kubectl(['delete', 'clusterrole,clusterrolebinding', namespace, '--wait=false']))
  mustKubectl(['create', 'serviceaccount', 'plugin', '-n', namespace])
  mustKubectl(['apply', '-f', '-'], {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name: namespace },
    rules,
  })
  mustKubectl([
    'create',
    'clusterrolebinding',
    namespace,
    `--clusterrole=${namespace}`,
    `--serviceaccount=${namespace}:plugin`,
  ])
  const token = new SecretText(mustKubectl(['create', 'token', 'plugin', '-n', namespace]).trim())
  const admin = loadConnection({ clock: realClock, env: process.env })
  const current = async () => ({ ...(await admin.credentials.current()), token })
  const connection = { ...admin, credentials: { current, expire: () => {} } }
  const client = createKubeClient({ connection, clock: realClock })
  t.teardown(() => client.close())
  const log = new FakeLog()

  const status = createImportStatus({ client, log, clock: realClock, random: () => 0 })
  t.teardown(() => status.close())
  const imports = createKubeImports({
    client,
    log,
    clock: realClock,
    onValidated: status.report,
    onForgotten: status.forget,
  })
  t.teardown(() => imports.close())
  await imports.start(never)
  const manifest = importManifest()
  Object.assign(manifest.metadata, { namespace })
  mustKubectl(['apply', '-f', '-'], manifest)
  t.equal((await imports.get(namespace, 'python-backend', never)).name, 'python-backend')
  await t.rejects(imports.get(namespace, 'other', never), /there exist "python-backend"/)
  // By polling: waiting in kubectl would block the plugin, which is this process.
  const told = (accepted: string) =>
    until(`Accepted ${accepted}`, () => {
      const { status } = JSON.parse(
        mustKubectl(['get', 'ssi', 'python-backend', '-n', namespace, '-o', 'json']),
      )
      return status?.conditions[0].status === accepted && status
    })
  await told('True')
  manifest.spec.files = [{ name: 'dsn', source: { path: 'secret/data/app' }, template: '{{ unclosed' }]
  mustKubectl(['apply', '-f', '-'], manifest)
  const { observedGeneration, conditions } = await told('False')
  t.equal(observedGeneration, 2)
  t.match(conditions, [
    { type: 'Accepted', reason: 'Invalid', message: /spec\.files\[0\]\.template: .*not closed/ },
  ])

  const created = mustKubectl(['create', '-f', '-', '-o', 'json'], {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'app', namespace },
    spec: {
      containers: [{ name: 'app', image: 'none.invalid/none' }],
      schedulerName: 'nobody',
      serviceAccountName: 'plugin',
    },
  })
  const pod = { name: 'app', namespace, uid: JSON.parse(created).metadata.uid, serviceAccount: 'plugin' }
  await createTokenRequests({ client, clock: realClock }).request(pod, 'vault', never)

  let skippedMs = 0
  const clock = { ...realClock, monotonic: () => realClock.monotonic() + skippedMs }
  const notifier = createKubeNotifier({ client, log, clock, driverName: 'd.example.org', nodeId: 'node1' })
  const events = () =>
    mustKubectl(['get', 'events', '-n', namespace, '-o', 'jsonpath={.items[*].series.count}'])
  notifier.failed(pod, 'python-backend', new FaultError('sealed', { address: 'https://vault' }))
  await until('the event', () => mustKubectl(['get', 'events', '-n', namespace]).includes('is sealed'))
  skippedMs = 11 * 60_000
  notifier.failed(pod, 'python-backend', new FaultError('sealed', { address: 'https://vault' }))
  await until('the repetition', () => events() === '2')
  await notifier.close(never)
  t.same(log.messages('warn'), [])
  t.same(log.messages('error'), ['import became faulty, the last good one stays in force'])
})
