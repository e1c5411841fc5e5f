import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { container, MOUNT } from '../harness/cluster/app-pod.ts'
import { kubectl, mustKubectl } from '../harness/cluster/cluster.ts'
import { notOurs } from '../harness/cluster/component.ts'
import { installPlugin, noInstall } from '../harness/cluster/install.ts'
import { ROLE } from '../harness/cluster/kube-vault.ts'
import { passwordFile, startTeam } from '../harness/cluster/team.ts'
import { until } from '../harness/until.ts'
import { setUpPki } from '../harness/vault/vault-engines.ts'

const run = promisify(execFile)

const name = `vfci-${process.pid}`
const STARTUP_TAINT = 'example.org/starting'
const taints = () => mustKubectl(['get', 'node', 'node1', '-o', 'jsonpath={.spec.taints[*].key}'])

t.setTimeout(600_000)

t.test('one helm install, and a pod reads what Vault holds', { skip: noInstall || notOurs }, async (t) => {
  const team = await startTeam(t)
  const { vault } = team
  await vault.writeRole(ROLE, { audience: 'vault' })
  const values = { 'vault.address': vault.bao.adminAddress, 'vault.authPath': 'main-kube' }
  const plugin = await installPlugin({ name, values })
  t.teardown(() => plugin.uninstall())
  t.teardown(() => team.removePods())
  const put = (password: string) => vault.put('database-for-python-app', { password })

  const metricsPage = async () => (await fetch(`${plugin.httpUrl}/metrics`)).text()
  const drivers = () => mustKubectl(['get', 'csinodes', '-o', 'jsonpath={.items[*].spec.drivers[*].name}'])
  await until('kubelet to list the driver', () => drivers().includes(plugin.driverName))
  t.equal(await (await fetch(`${plugin.httpUrl}/readyz`)).text(), 'ok\n')
  t.match(plugin.notes, /STATUS: deployed[\s\S]*kubectl -n vfci-\d+ rollout status/)

  await put('correct horse')
  await team.applyImport('python-backend', { role: ROLE, refreshInterval: '10s', files: [passwordFile] })
  // Ends as soon as one look finds anything but a secret; kubelet then counts a restart.
  const watch = `while grep -q "horse\\|staple" ${MOUNT}/db-password; do usleep 10000; done; exit 1`
  const pod = await team.createPod({
    name: 'backend',
    driver: plugin.driverName,
    containers: [container('app', watch)],
  })
  await pod.running()
  const read = () => pod.exec('app', 'cat', `${MOUNT}/db-password`)
  t.equal(await read(), 'correct horse')

  await t.test('the plugin is let do all that it does, and no more is asked of RBAC', async (t) => {
    const lines = plugin.log().split('\n')
    t.strictSame(
      lines.filter((line) => /"level":"(warn|error)"|forbidden/.test(line)),
      [],
    )
    t.match(await rotated('battery staple'), { type: 'Normal', reason: 'SecretsStoreImportRotated' })
  })

  await setUpPki(vault.admin)
  await vault.admin.write('sys/policies/acl/web', {
    policy: 'path "pki/issue/web" { capabilities = ["update"] }',
  })
  await vault.writeRole('web', { audience: 'vault', policies: ['web'] })
  const data = { common_name: 'web.example.org', ttl: '1h' }
  await team.applyImport('web', {
    role: 'web',
    refreshInterval: '10s',
    sources: [{ name: 'web', path: 'pki/issue/web', method: 'PUT', data }],
    files: [{ name: 'tls.key', source: { ref: 'web', key: 'private_key' } }],
  })
  const web = await team.createPod({ name: 'web', driver: plugin.driverName, importName: 'web' })
  await web.running()
  const key = web.read('tls.key')

  await t.test('a rollout replaces the plugin, and the pod reads on and sees the next change', async (t) => {
    const before = plugin.podName()
    mustKubectl(['taint', 'nodes', 'node1', `${STARTUP_TAINT}=:NoSchedule`, '--overwrite'])
    t.teardown(() => kubectl(['taint', 'nodes', 'node1', `${STARTUP_TAINT}-`]))
    t.match(taints(), STARTUP_TAINT)
    await plugin.upgrade({ 'log.level': 'debug', startupTaint: STARTUP_TAINT })
    await until('the startup taint to go', () => !taints().includes(STARTUP_TAINT), { timeoutMs: 30_000 })
    t.not(plugin.podName(), before)
    t.equal(await read(), 'battery staple')
    await pod.touch()
    await put('purple horse')
    await until('the new secret', async () => (await read()) === 'purple horse', {
      timeoutMs: 150_000,
      everyMs: 500,
    })
    t.equal(await pod.restarts(), 0)
  })

  await t.test('the new plugin resumes the leases from before the rollout', async (t) => {
    await web.touch()
    const areInSync = async () => /vault_files_volumes\{state="inSync"\} 2/.test(await metricsPage())
    await until('both volumes to be in sync', areInSync, { timeoutMs: 150_000, everyMs: 500 })
    t.equal(web.read('tls.key'), key)
    t.match(await metricsPage(), /vault_files_leases\{state="active"\} 1/)
  })

  await t.test('the plugin dies in its pod, kubelet starts it again, and the pod reads on', async (t) => {
    const restarts = () => {
      const path = '-o=jsonpath={.items[0].status.containerStatuses[0].restartCount}'
      return mustKubectl(['get', 'pods', '-n', name, path])
    }
    const ready = () => fetch(`${plugin.httpUrl}/readyz`).then(({ ok }) => ok)
    // PID 1 of a container takes no SIGKILL from inside.
    const { stdout } = await run('pgrep', ['-f', `^node .*--driver-name=${plugin.driverName}`])
    process.kill(Number(stdout.trim()), 'SIGKILL')
    await until('kubelet to start it again', async () => restarts() === '1' && (await ready()), {
      timeoutMs: 60_000,
      everyMs: 500,
    })
    await pod.touch()
    await put('brown horse')
    await until('the new secret', async () => (await read()) === 'brown horse', {
      timeoutMs: 150_000,
      everyMs: 500,
    })
    const another = await team.createPod({ name: 'another', driver: plugin.driverName })
    await another.running()
    t.equal(await another.exec('app', 'cat', `${MOUNT}/db-password`), 'brown horse')
    t.equal(await pod.restarts(), 0)
  })

  await t.test(
    'the root file system is read-only; sockets and the ledger are all that is written',
    async (t) => {
      const inPod = (...args: string[]) =>
        run('kubectl', ['exec', '-n', name, plugin.podName(), '--', ...args])
      await t.rejects(inPod('touch', '/app/x'), /Read-only file system/)
      const { stdout } = await inPod('ls', `/run/${name}`)
      t.equal(stdout.trim(), 'lock\nvolumes')
    },
  )

  await t.test('helm uninstall takes everything but the CRD and its imports', async (t) => {
    await team.removePods()
    await plugin.uninstall()
    await until('kubelet to let it go', () => !drivers().includes(plugin.driverName), { everyMs: 250 })
    const own = kubectl(['get', 'csidrivers,clusterroles,clusterrolebindings', '-o', 'name']).stdout
    t.notMatch(own, new RegExp(name))
    t.match(mustKubectl(['get', 'ssi', '-n', 'my-namespace1', '-o', 'name']), /python-backend/)
  })

  async function rotated(password: string) {
    await put(password)
    return pod.event(/python-backend: updated db-password/, 60_000)
  }
})
