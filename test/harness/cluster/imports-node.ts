import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { connectKubelet, type PublishArgs } from '../kubelet/kubelet.ts'
import { costOf, type ProcessCost } from '../measure/process-cost.ts'
import { type LogLine, parseLog } from '../plugin/log-lines.ts'
import { type Plugin, startPlugin } from '../plugin/plugin.ts'
import { createNamespace, installCrd, kubectl, mustKubectl } from './cluster.ts'
import { type ClusterApi, connectClusterApi } from './cluster-api.ts'
import { type KubeVault, PATH, ROLE, SERVICE_ACCOUNT, startKubeVault } from './kube-vault.ts'
import { writeKubeconfig } from './kubeconfig.ts'

/** The rules of the chart that imports need. */
const rules = [
  { apiGroups: ['deckhouse.io'], resources: ['secretsstoreimports'], verbs: ['list', 'watch'] },
  { apiGroups: ['deckhouse.io'], resources: ['secretsstoreimports/status'], verbs: ['patch'] },
  { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: ['create', 'patch'] },
]

/**
 * The plugin as a process of its own with imports from a real API server and a real OpenBao; kubelet's part is played,
 * so that there may be as many pods as it takes, and no node.
 */
export type ImportsNode = {
  api: ClusterApi
  vault: KubeVault
  namespace: string
  plugin(): Plugin
  log(): LogLine[]
  cost(): ProcessCost
  applyImport(name: string, spec?: object): Promise<void>
  /** The volume of a pod, first or again, as kubelet brings it every minute. */
  publish(importName: string): Promise<void>
  targetOf(importName: string): string
  start(args?: readonly string[]): Promise<void>
  stop(): Promise<void>
}

type Teardown = { teardown(task: () => Promise<void> | void): void }

export async function startImportsNode(t: Teardown, namespace: string): Promise<ImportsNode> {
  await installCrd()
  const api = await connectClusterApi()
  t.teardown(() => api.close())
  t.teardown(createNamespace(namespace))
  const vault = await startKubeVault({ namespace, api })
  t.teardown(() => vault.close())
  await vault.put('database-for-python-app', { password: 'first' })
  const folder = mkdtempSync(join(tmpdir(), 'vault-files-imports-'))
  const endpoint = `unix://${join(folder, 'csi.sock')}`
  const kubelet = connectKubelet(endpoint)
  const token = makeAccounts(namespace)
  t.teardown(() => {
    kubectl(['delete', 'clusterrole,clusterrolebinding', namespace, '--wait=false'])
  })
  const env = {
    KUBECONFIG: writeKubeconfig(
      api,
      folder,
      mustKubectl(['create', 'token', 'plugin', '-n', namespace]).trim(),
    ),
    NODE_COMPILE_CACHE: join(folder, 'compiled'),
  }
  const volumes = new Map<string, PublishArgs>()
  const folderOfImports = `/apis/deckhouse.io/v1alpha1/namespaces/${namespace}/secretsstoreimports`
  let running: Plugin | undefined

  const plugin = () => {
    if (running === undefined) throw new Error('the plugin is stopped')
    return running
  }

  const node: ImportsNode = {
    api,
    vault,
    namespace,
    plugin,
    log: () => parseLog(plugin().output()),
    cost: () => costOf(plugin().process.pid ?? 0),
    async applyImport(
      name,
      spec = { role: ROLE, files: [{ name: 'db-password', source: { path: PATH, key: 'password' } }] },
    ) {
      const found = await api.get(`${folderOfImports}/${name}`)
      const body = { apiVersion: 'deckhouse.io/v1alpha1', kind: 'SecretsStoreImport', spec }
      if (found === undefined) await api.create(folderOfImports, { ...body, metadata: { name } })
      else await api.put(`${folderOfImports}/${name}`, { ...body, metadata: found.metadata })
    },
    async publish(importName) {
      const args = volumes.get(importName) ?? volumeOf(importName)
      volumes.set(importName, args)
      await kubelet.nodePublish({ ...args, tokens: { '': token } })
    },
    targetOf: (importName) => volumes.get(importName)?.targetPath ?? '',
    async start(args = []) {
      running = await startPlugin({
        endpoint,
        args: [
          '--node-id=node1',
          '--imports=kube',
          '--driver-name=imports.csi.example.org',
          `--state-dir=${join(folder, 'state')}`,
          `--vault-addr=${vault.bao.adminAddress}`,
          '--vault-auth-path=main-kube',
          '--http-addr=off',
          '--log-format=json',
          ...args,
        ],
        env,
      })
    },
    async stop() {
      const ending = plugin()
      running = undefined
      await ending.stop()
    },
  }

  function volumeOf(importName: string): PublishArgs {
    const targetPath = join(folder, 'pods', importName, 'volumes/kubernetes.io~csi/secrets/mount')
    mkdirSync(dirname(targetPath), { recursive: true })
    const pod = { name: importName, uid: `uid-${importName}`, namespace, serviceAccount: SERVICE_ACCOUNT }
    return { volumeId: `csi-${importName}`, targetPath, pod, importName }
  }

  t.teardown(async () => {
    if (running === undefined) await node.start()
    for (const { volumeId, targetPath } of volumes.values())
      await kubelet.nodeUnpublish({ volumeId, targetPath })
    await node.stop()
    kubelet.close()
    rmSync(folder, { recursive: true, force: true })
  })
  return node
}

/** The pods' service account and the plugin's own. @returns a token of the pods' */
function makeAccounts(namespace: string) {
  mustKubectl(['create', 'serviceaccount', SERVICE_ACCOUNT, '-n', namespace])
  mustKubectl(['create', 'serviceaccount', 'plugin', '-n', namespace])
  mustKubectl(['apply', '-f', '-'], {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name: namespace },
    rules,
  })
  const binding = [`--clusterrole=${namespace}`, `--serviceaccount=${namespace}:plugin`]
  mustKubectl(['create', 'clusterrolebinding', namespace, ...binding])
  const token = mustKubectl(['create', 'token', SERVICE_ACCOUNT, '-n', namespace, '--duration=4h']).trim()
  return { token, expirationTimestamp: new Date(Date.now() + 4 * 3600_000).toISOString() }
}
