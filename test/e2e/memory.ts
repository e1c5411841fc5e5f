// What the plugin holds resident in the DaemonSet's own container, all of its processes together, read from outside.
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { notOurs } from '../harness/cluster/component.ts'
import { installPlugin, noInstall } from '../harness/cluster/install.ts'
import { ROLE, SERVICE_ACCOUNT } from '../harness/cluster/kube-vault.ts'
import { NAMESPACE, passwordFile, startTeam, type Team } from '../harness/cluster/team.ts'
import { findProcess, type ProcessMemory, readMemory, watchPeak } from '../harness/measure/process-memory.ts'
import { until } from '../harness/until.ts'

const PODS = 50
/** Resident MiB that the plugin may hold at rest with all pods, its sandbox included should that still be there. */
const GOAL_MIB = 85
/** At rest: what the last pod's start has set off is long over, and each secret was refreshed at least once. */
const REST_MS = 60_000
const REFRESH_INTERVAL = '30s'
/** Of identities: each logs in for itself. */
const SERVICE_ACCOUNTS = [SERVICE_ACCOUNT, 'frontend-sa', 'worker-sa', 'cron-sa', 'reports-sa']
const IMPORTS = ['python-backend', 'templated', 'two-files', 'whole-secret', 'dotenv']

type Row = ProcessMemory & { what: string; peak: number }

const name = `vfci-memory-${process.pid}`

t.setTimeout(600_000)

t.test(`at most ${GOAL_MIB} MiB with ${PODS} pods`, { skip: noInstall || notOurs }, async (t) => {
  const team = await startTeam(t)
  const values = { 'vault.address': team.vault.bao.adminAddress, 'vault.authPath': 'main-kube' }
  const plugin = await installPlugin({ name, values })
  t.teardown(() => plugin.uninstall())
  t.teardown(() => team.removePods())
  await setUp(team)
  const pid = findProcess(`--driver-name=${plugin.driverName}`)
  const rows: Row[] = []
  const measure = async (what: string, act: () => Promise<void>) => {
    const watch = watchPeak(pid)
    await act()
    await sleep(REST_MS)
    const memory = readMemory(pid)
    rows.push({ what, ...memory, peak: watch.stop() })
    return memory
  }
  const start = async (from: number, to: number) => {
    const pods = Array.from({ length: to - from }, (_, index) => createPod(from + index))
    await Promise.all(pods)
    await until('all pods to run', async () => (await running()) === to, {
      timeoutMs: 300_000,
      everyMs: 1_000,
    })
  }
  const createPod = (index: number) =>
    team.createPod({
      name: `pod-${index}`,
      driver: plugin.driverName,
      importName: IMPORTS[index % IMPORTS.length] ?? '',
      // Another import each time round.
      serviceAccount: SERVICE_ACCOUNTS[Math.floor(index / IMPORTS.length) % SERVICE_ACCOUNTS.length] ?? '',
    })
  const running = async () => {
    const { items } = await team.api.get(`/api/v1/namespaces/${NAMESPACE}/pods`)
    const isReady = (one: { ready: boolean }) => one.ready
    return items.filter((pod: { status: { containerStatuses?: { ready: boolean }[] } }) =>
      pod.status.containerStatuses?.every(isReady),
    ).length
  }

  await measure('no pod', async () => undefined)
  await measure('1 pod', () => start(0, 1))
  const { rss } = await measure(`${PODS} pods`, () => start(1, PODS))
  console.error(render(rows))
  t.ok(rss <= GOAL_MIB, `${rss.toFixed(1)} MiB`)
  t.equal(findProcess(`--driver-name=${plugin.driverName}`), pid, 'it is the same process all along')
})

/** Secrets, roles and imports of several kinds, one with a template. */
async function setUp(team: Team): Promise<void> {
  for (const one of SERVICE_ACCOUNTS.slice(1)) await team.createServiceAccount(one)
  await team.vault.writeRole(ROLE, { serviceAccounts: SERVICE_ACCOUNTS, audience: 'vault' })
  await team.vault.put('database-for-python-app', { password: 'correct horse', user: 'app' })
  const { source } = passwordFile
  const user = { name: 'db-user', source: { ...source, key: 'user' } }
  const template = 'postgres://{{ user }}:{{ password | url_encode }}@db/app'
  const specs: Record<string, object> = {
    'python-backend': { files: [passwordFile] },
    templated: { files: [{ name: 'db-url', source: { path: source.path }, template }] },
    'two-files': { files: [passwordFile, user] },
    'whole-secret': { dataFrom: [{ path: source.path }] },
    dotenv: { dataFrom: [{ path: source.path, format: 'Dotenv', fileName: 'db.env' }] },
  }
  for (const [importName, spec] of Object.entries(specs)) {
    await team.applyImport(importName, { role: ROLE, refreshInterval: REFRESH_INTERVAL, ...spec })
  }
}

function render(rows: readonly Row[]): string {
  const lines = rows.map(({ what, rss, anon, file, peak, processes }) => {
    const figures = [rss, anon, file, peak].map((mib) => mib.toFixed(1))
    return `| ${[what, ...figures, processes].join(' | ')} |`
  })
  return [
    '| MiB | RSS | anonymous | files | highest RSS | processes |',
    '|---|---|---|---|---|---|',
    ...lines,
  ].join('\n')
}
