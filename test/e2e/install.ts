import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { findOrFetchOpenBao, startOpenBao } from '../../src/demo/openbao.ts'
import { createVaultAdmin, type VaultAdmin } from '../../src/demo/vault-admin.ts'
import { createNamespace, kubectl, mustKubectl } from '../support/cluster.ts'
import { installPlugin, noInstall } from '../support/install.ts'
import { until } from '../support/until.ts'

const run = promisify(execFile)

const name = `vfci-${process.pid}`
const namespace = `${name}-apps`
const reviewer = `${name}-reviewer`

t.setTimeout(600_000)

t.test('one install, and a pod reads what Vault holds', { skip: noInstall }, async (t) => {
  const bao = await startOpenBao({ binary: await findOrFetchOpenBao(), storage: 'inmem' })
  t.teardown(() => bao.close())
  const admin = createVaultAdmin({ address: bao.adminAddress, token: bao.rootToken })
  t.teardown(createNamespace(namespace))
  t.teardown(() => kubectl(['delete', 'clusterrolebinding', reviewer]))
  await setUpVault(admin)
  const values = { 'vault.address': bao.address, 'vault.authPath': 'main-kube' }
  const plugin = await installPlugin({ name, values })
  t.teardown(() => plugin.uninstall())

  const drivers = () => mustKubectl(['get', 'csinodes', '-o', 'jsonpath={.items[*].spec.drivers[*].name}'])
  await until('kubelet to list the driver', () => drivers().includes(plugin.driverName))
  t.equal(await (await fetch(`${plugin.httpUrl}/readyz`)).text(), 'ok\n')

  mustKubectl(['create', 'serviceaccount', 'my-app', '-n', namespace])
  mustKubectl(['apply', '-f', '-'], importOf())
  mustKubectl(['create', '-f', '-'], podOf('my-app', plugin.driverName))
  t.teardown(() => kubectl(['delete', 'pod', 'my-app', '-n', namespace, '--grace-period=1', '--timeout=60s']))
  const read = () => kubectl(['exec', '-n', namespace, 'my-app', '--', 'cat', '/secrets/db-password']).stdout
  await until('the pod to read its secret', () => read() === 'correct horse', {
    timeoutMs: 60_000,
    everyMs: 200,
  })

  t.test('the plugin is let do all that it does, and no more is asked of RBAC', async (t) => {
    const complaints = plugin
      .log()
      .split('\n')
      .filter((line) => /"level":"(warn|error)"|forbidden/.test(line))
    t.strictSame(complaints, [])
  })

  t.test(
    'a rollout replaces the plugin, the pod goes on with its files and sees the next change',
    async (t) => {
      const before = plugin.podName()
      await plugin.upgrade({ 'log.level': 'debug' })
      t.not(plugin.podName(), before)
      t.equal(read(), 'correct horse')
      await admin.write('secret/data/my-app', { data: { password: 'battery staple' } })
      await until('the new secret', () => read() === 'battery staple', { timeoutMs: 150_000, everyMs: 500 })
    },
  )

  t.test('the root file system is read-only and nothing is written but sockets and the ledger', async (t) => {
    const inPod = (...args: string[]) => run('kubectl', ['exec', '-n', name, plugin.podName(), '--', ...args])
    await t.rejects(inPod('touch', '/app/x'), /Read-only file system/)
    const { stdout } = await inPod('ls', `/run/${name}`)
    t.equal(stdout.trim(), 'volumes')
  })
})

/** As docs/vault-setup.md has it, with this cluster's API server as the reviewer. */
async function setUpVault(admin: VaultAdmin): Promise<void> {
  mustKubectl(['create', 'serviceaccount', 'vault', '-n', namespace])
  const binding = ['create', 'clusterrolebinding', reviewer, '--clusterrole=system:auth-delegator']
  mustKubectl([...binding, `--serviceaccount=${namespace}:vault`])
  await admin.enableKv2('secret')
  await admin.write('secret/data/my-app', { data: { password: 'correct horse' } })
  await admin.writeReadPolicy('my-app', ['secret/data/my-app'])
  await admin.write('sys/auth/main-kube', { type: 'kubernetes' })
  await admin.write('auth/main-kube/config', {
    kubernetes_host: mustKubectl(['config', 'view', '-o', 'jsonpath={.clusters[0].cluster.server}']),
    kubernetes_ca_cert: readFileSync(join(dirname(process.env.KUBECONFIG ?? ''), 'pki/ca.crt'), 'utf8'),
    token_reviewer_jwt: mustKubectl(['create', 'token', 'vault', '-n', namespace]).trim(),
    disable_local_ca_jwt: true,
  })
  await admin.write('auth/main-kube/role/my-app', {
    bound_service_account_names: 'my-app',
    bound_service_account_namespaces: namespace,
    audience: 'vault',
    token_policies: 'my-app',
    token_ttl: '10m',
  })
}

function importOf(): object {
  return {
    apiVersion: 'deckhouse.io/v1alpha1',
    kind: 'SecretsStoreImport',
    metadata: { name: 'my-app', namespace },
    spec: {
      role: 'my-app',
      refreshInterval: '10s',
      files: [{ name: 'db-password', source: { path: 'secret/data/my-app', key: 'password' } }],
    },
  }
}

function podOf(podName: string, driver: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: podName, namespace },
    spec: {
      nodeName: 'node1',
      hostNetwork: true,
      serviceAccountName: 'my-app',
      terminationGracePeriodSeconds: 1,
      tolerations: [{ operator: 'Exists' }],
      containers: [
        {
          name: 'app',
          image: 'local/busybox:1',
          imagePullPolicy: 'Never',
          volumeMounts: [{ name: 'secrets', mountPath: '/secrets' }],
        },
      ],
      volumes: [
        {
          name: 'secrets',
          csi: { driver, readOnly: true, volumeAttributes: { secretsStoreImport: 'my-app' } },
        },
      ],
    },
  }
}
