import { spawnSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { type AppPod, container, MOUNT } from '../harness/cluster/app-pod.ts'
import { findComponent, notOurs } from '../harness/cluster/component.ts'
import { DRIVER, KUBELET } from '../harness/cluster/host-plugin.ts'
import { startKubeNode } from '../harness/cluster/kube-node.ts'
import { startPlugin } from '../harness/plugin/plugin.ts'
import { until } from '../harness/until.ts'

/** kubelet looks at a pod every minute and a half at most. */
const SYNC_MS = 120_000
const CONTAINERD = join(dirname(process.env.KUBECONFIG ?? ''), 'containerd.sock')

t.setTimeout(600_000)

t.test('whatever goes away, pods keep their files', { skip: notOurs }, async (t) => {
  const node = await startKubeNode(t)
  const { vault, plugin } = node
  let version = 0
  /** The secret changes, and the volume with it. @returns milliseconds */
  async function rotate(pod: AppPod, timeoutMs = 15_000): Promise<number> {
    const password = await change()
    const changedAt = performance.now()
    await until('the new value', () => pod.read('db-password') === password, { timeoutMs, everyMs: 20 })
    return performance.now() - changedAt
  }
  async function change(): Promise<string> {
    version += 1
    const password = `version ${version}`
    await vault.put('database-for-python-app', { password })
    return password
  }
  await change()
  await node.applyImport('python-backend')
  // Fails, and is started again, as soon as the file is not as it should be.
  const watch = `while grep -q "^version" ${MOUNT}/db-password; do usleep 20000; done; exit 1`
  const pod = await node.createPod({ name: 'backend', containers: [container('app', watch)] })
  await pod.running()

  async function isUndisturbed(t: Test): Promise<void> {
    t.equal(await pod.restarts(), 0, 'its container never saw anything but its file')
    t.equal(mountsOf(pod), 1)
  }

  await t.test('plugin killed: files intact, rotation goes on with the next token of kubelet', async (t) => {
    const before = pod.read('db-password')
    await plugin.kill()
    await change()
    await sleep(3_000)
    t.equal(pod.read('db-password'), before)
    t.equal(await pod.exec('app', 'cat', `${MOUNT}/db-password`), before)
    await plugin.start()
    // kubelet's own time, once; further on it is called to look.
    t.comment(`first rotation after ${Math.round(await rotate(pod, SYNC_MS))} ms`)
    await rotate(pod)
    await isUndisturbed(t)
  })

  await t.test('kubelet has asked for the usage of the volume by now', async (t) => {
    // Every 60 to 120 s for each pod, and one question may have met the killed plugin.
    const asked = () => kubeletCalls('NodeGetVolumeStats', 'OK')
    await until('the question', async () => (await asked()) > 0, { timeoutMs: 240_000, everyMs: 1_000 })
    t.equal(await kubeletCalls('NodeGetVolumeStats', 'Internal'), 0)
  })

  await t.test('plugin stopped in order and started again', async (t) => {
    t.equal(await plugin.stop(), 0)
    await plugin.start()
    await pod.touch()
    await rotate(pod)
    await isUndisturbed(t)
  })

  await t.test('kubelet restarted: it registers the plugin again and publishes', async (t) => {
    const kubelet = findComponent('kubelet')
    const registrations = () => plugin.log().filter(({ msg }) => msg === 'registered with kubelet').length
    const before = registrations()
    await kubelet?.stop()
    await rotate(pod)
    await kubelet?.start()
    await until('kubelet to register the plugin', () => registrations() > before, { timeoutMs: 30_000 })
    const another = await node.createPod({ name: 'after-kubelet' })
    await another.running()
    await another.remove()
    await rotate(pod)
    await isUndisturbed(t)
  })

  await t.test('API server restarted: rotation goes on without it, imports with it', async (t) => {
    const apiServer = findComponent('apiserver')
    await apiServer?.stop()
    await rotate(pod)
    await apiServer?.start()
    await rotate(pod)
    await node.applyImport('after-apiserver')
    const another = await node.createPod({ name: 'after-apiserver', importName: 'after-apiserver' })
    await another.running()
    await another.remove()
    await isUndisturbed(t)
  })

  await t.test('Vault stopped across a rotation and back', async (t) => {
    const before = pod.read('db-password')
    await vault.bao.stop()
    const warning = await pod.event(/Vault at \S+ cannot be reached \(connection refused\)/)
    t.match(warning, { type: 'Warning', reason: 'SecretsStoreImportFailed', from: DRIVER })
    t.equal(pod.read('db-password'), before)
    const waiting = await node.createPod({ name: 'waiting' })
    await waiting.event(/Unavailable.*cannot be reached/)
    await vault.bao.start()
    t.comment(`in sync after ${Math.round(await rotate(pod))} ms`)
    const recovery = await pod.event(/python-backend: secrets are read again, the files are up to date/)
    t.match(recovery, { type: 'Normal', reason: 'SecretsStoreImportRecovered' })
    await waiting.running(130_000)
    await waiting.remove()
    await isUndisturbed(t)
  })

  await t.test('all mounts lost, as at a reboot: the containers start with their files', async (t) => {
    const kubelet = findComponent('kubelet')
    await kubelet?.stop()
    await plugin.kill()
    await killContainers()
    spawnSync('umount', [pod.target])
    t.equal(mountsOf(pod), 0)
    const password = await change()
    await kubelet?.start()
    await plugin.start()
    const found = plugin.log().findLast(({ msg }) => msg === 'volumes resumed')
    t.match(found, { resumed: 0, forgotten: 1, failed: 0 })
    await until('the container to run again', async () => (await pod.restarts()) > 0, {
      timeoutMs: 60_000,
      everyMs: 200,
    })
    await pod.running(60_000)
    t.equal(await pod.exec('app', 'cat', `${MOUNT}/db-password`), password)
    t.equal(mountsOf(pod), 1)
    await rotate(pod)
  })

  await t.test('a plugin that kubelet refuses ends with an error', async (t) => {
    const driverName = 'refused.csi.example.org'
    const registrationSocket = join(KUBELET, 'plugins_registry', `${driverName}-reg.sock`)
    t.teardown(() => rmSync(registrationSocket, { force: true }))
    const refused = await startPlugin({
      endpoint: `unix://${join(plugin.folder, 'refused.sock')}`,
      args: [
        ...plugin.argsFor({
          driverName,
          kubeletEndpoint: join(KUBELET, 'plugins', driverName, 'nowhere.sock'),
          registrationSocket,
        }),
        `--state-dir=${join(plugin.folder, 'refused')}`,
        '--http-addr=off',
      ],
      env: plugin.env,
    })
    t.teardown(() => refused.kill().catch(() => undefined))
    await until('it to end', () => refused.process.exitCode !== null, { timeoutMs: 60_000 })
    t.equal(refused.process.exitCode, 1)
    t.match(refused.output(), /kubelet refused the registration/)
  })

  await t.test('when the pod is deleted nothing is left', async (t) => {
    // Those of processes that are no more end with their time to live.
    const tokens = await vault.loginTokens()
    await pod.remove()
    await until('the unmount', () => mountsOf(pod) === 0)
    t.strictSame(plugin.ledger(), [])
    t.equal((await vault.loginTokens()).length, tokens.length - 1)
  })
})

/** On the pod's volume; two would be one too many. */
function mountsOf({ target }: AppPod): number {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.split(' ')[4] === target).length
}

/** How many calls of the driver kubelet has counted with this answer. */
async function kubeletCalls(method: string, status: string): Promise<number> {
  const { stdout } = spawnSync('curl', ['-sk', 'https://127.0.0.1:10250/metrics'], {
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  })
  const line = stdout
    .split('\n')
    .find(
      (text) =>
        text.startsWith('csi_operations_seconds_count') &&
        [DRIVER, method, `grpc_status_code="${status}"`].every((part) => text.includes(part)),
    )
  return Number(line?.split(' ').at(-1) ?? 0)
}

/** Every container of the cluster dies at once. */
async function killContainers(): Promise<void> {
  const ctr = (...args: string[]) => spawnSync('ctr', ['-a', CONTAINERD, '-n', 'k8s.io', 'tasks', ...args])
  const running = () => ctr('ls', '-q').stdout.toString().split('\n').filter(Boolean)
  for (const id of running()) ctr('kill', '-s', 'KILL', id)
  await sleep(1_000)
}
