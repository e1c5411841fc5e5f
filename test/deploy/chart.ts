import t from 'tap'
import { CHART, KUBE_VERSION } from '../../deploy/generate/deploy-files.ts'
import { helm } from '../../deploy/generate/helm.ts'
import { parseSize } from '../../src/core/size.ts'
import { ALL_ON, manifestsOf, podSpecOf, type Rule, rulesOf, theOnly } from '../harness/cluster/chart.ts'

// Building helm, once on a machine, takes minutes.
t.setTimeout(900_000)

t.test('helm lint finds nothing', async (t) => {
  const { ok, stdout, stderr } = await helm('lint', '--strict', KUBE_VERSION, CHART)
  t.ok(ok, stdout + stderr)
})

t.test('by default the plugin may follow imports, write their status and events, nothing else', async (t) => {
  t.strictSame(await rulesOf(), [
    { apiGroups: ['deckhouse.io'], resources: ['secretsstoreimports'], verbs: ['list', 'watch'] },
    { apiGroups: ['deckhouse.io'], resources: ['secretsstoreimports/status'], verbs: ['patch'] },
    { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: ['create', 'patch'] },
  ])
})

t.test('each switch grants only its own rule', async (t) => {
  const imports = {
    apiGroups: ['deckhouse.io'],
    resources: ['secretsstoreimports'],
    verbs: ['list', 'watch'],
  }
  const pods = { apiGroups: [''], resources: ['pods'], verbs: ['get'] }
  const secrets = (...verbs: string[]) => ({ apiGroups: [''], resources: ['secrets'], verbs })
  const grants: [string, ...Rule[]][] = [
    ['rbac.tokenRequest', { apiGroups: [''], resources: ['serviceaccounts/token'], verbs: ['create'] }],
    ['rbac.configMaps', { apiGroups: [''], resources: ['configmaps'], verbs: ['get'] }],
    ['startupTaint=example.org/starting', { apiGroups: [''], resources: ['nodes'], verbs: ['get', 'patch'] }],
    ['rbac.secrets', secrets('get')],
    ['secretSync.enabled', secrets('get', 'create', 'patch'), pods],
    [
      'secretSync.enabled=true,secretSync.grantDelete=true',
      secrets('get', 'create', 'patch', 'delete'),
      pods,
    ],
    // Alone it grants nothing.
    ['secretSync.grantDelete'],
  ]
  for (const [name, ...rules] of grants) {
    t.strictSame(
      await rulesOf(
        '--set=rbac.events=false,rbac.importStatus=false',
        `--set=${name.includes('=') ? name : `${name}=true`}`,
      ),
      [imports, ...rules],
      name,
    )
  }
})

t.test(
  'privileged and Bidirectional for the pods directory, read-only and mounted there for all else',
  async (t) => {
    const { containers, volumes, hostNetwork } = await podSpecOf()
    const [container] = containers
    t.equal(containers.length, 1, 'no sidecars')
    t.equal(hostNetwork, undefined)
    t.strictSame(container?.securityContext, {
      privileged: true,
      runAsUser: 0,
      runAsGroup: 0,
      readOnlyRootFilesystem: true,
    })
    const shared = container?.volumeMounts.filter((mount) => mount.mountPropagation !== undefined)
    t.strictSame(shared, [
      { name: 'pods', mountPath: '/var/lib/kubelet/pods', mountPropagation: 'Bidirectional' },
    ])
    t.strictSame(
      volumes.map(({ hostPath }) => hostPath?.path),
      [
        '/var/lib/kubelet/plugins/secrets-store.csi.deckhouse.io',
        '/var/lib/kubelet/plugins_registry',
        '/var/lib/kubelet/pods',
        '/run/vault-files-csi',
      ],
    )
  },
)

t.test('kubelet and the plugin name the pods directory alike, wherever it is', async (t) => {
  const { containers, volumes } = await podSpecOf('--set=kubelet.rootDir=/data/kubelet')
  t.match(volumes.find(({ name }) => name === 'pods')?.hostPath, { path: '/data/kubelet/pods' })
  t.match(containers[0]?.volumeMounts.find(({ name }) => name === 'pods')?.mountPath, '/data/kubelet/pods')
})

t.test(
  'process and volumes at their bounds stay within the memory limit: tmpfs is charged to the plugin',
  async (t) => {
    const { containers } = await podSpecOf()
    const { limits } = containers[0]?.resources ?? {}
    const size = containers[0]?.args.find((arg) => arg.startsWith('--max-node-bytes='))?.split('=')[1]
    // What the process may take whatever imports ask of it, and a tenth for what the kernel keeps beside.
    const needed = 1.1 * (bytes('250Mi') + bytes(size))
    t.ok(bytes(limits?.memory) >= needed, `${limits?.memory} for ${needed} bytes`)
  },
)

t.test('probes follow what the port speaks', async (t) => {
  const probe = async (...args: string[]) => (await podSpecOf(...args)).containers[0]?.livenessProbe
  t.strictSame((await probe())?.httpGet, { path: '/healthz', port: 'http' })
  const tls = '--set=http.tls.secretName=x'
  t.strictSame((await probe(tls))?.httpGet, { path: '/healthz', port: 'http', scheme: 'HTTPS' })
  t.strictSame((await probe(tls, '--set=http.tls.clientCaKey=ca.crt'))?.tcpSocket, { port: 'http' })
})

t.test('the CSIDriver says what the plugin relies on', async (t) => {
  const driver = await theOnly('CSIDriver')
  t.strictSame(driver.spec, {
    attachRequired: false,
    volumeLifecycleModes: ['Ephemeral'],
    podInfoOnMount: true,
    fsGroupPolicy: 'None',
    requiresRepublish: true,
    tokenRequests: [{ audience: 'vault' }],
  })
  t.match(await theOnly('CSIDriver', ALL_ON), {
    spec: {
      tokenRequests: [{ audience: 'vault', expirationSeconds: 3600 }],
      serviceAccountTokenInSecrets: true,
    },
  })
})

t.test('imports outlive the release, and can be told not to', async (t) => {
  const crd = await theOnly('CustomResourceDefinition')
  t.match(crd.metadata.annotations, { 'helm.sh/resource-policy': 'keep' })
  const without = await theOnly('CustomResourceDefinition', '--set=crd.keep=false')
  t.equal(without.metadata.annotations, undefined)
})

t.test('what is off is not there, what is on is', async (t) => {
  const kinds = async (...args: string[]) => (await manifestsOf(...args)).map(({ kind }) => kind).sort()
  t.strictSame(await kinds(), [
    'CSIDriver',
    'ClusterRole',
    'ClusterRoleBinding',
    'CustomResourceDefinition',
    'DaemonSet',
    'ServiceAccount',
  ])
  t.strictSame(await kinds(ALL_ON), [
    'CSIDriver',
    'ClusterRole',
    'ClusterRoleBinding',
    'ConfigMap',
    'CustomResourceDefinition',
    'DaemonSet',
    'PodMonitor',
    'PrometheusRule',
    'Service',
    'ServiceAccount',
  ])
  const none = ['csiDriver', 'crd', 'rbac', 'serviceAccount'].map((name) => `--set=${name}.create=false`)
  t.strictSame(await kinds(...none), ['DaemonSet'])
})

t.test('alerts and dashboard arrive whole', async (t) => {
  const rules = await theOnly('PrometheusRule', ALL_ON)
  t.match(rules.spec, { groups: [{ name: 'vault-files-csi' }] })
  const dashboard = await theOnly('ConfigMap', ALL_ON)
  t.match(JSON.parse(dashboard.data['vault-files-csi.json'] ?? ''), { uid: 'vault-files-csi' })
})

function bytes(size: string | undefined): number {
  return parseSize(size ?? '') ?? Number.NaN
}
