import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { ROOT } from '../../deploy/generate/deploy-files.ts'
import { kubectl, mustKubectl } from '../harness/cluster/cluster.ts'
import { notOurs } from '../harness/cluster/component.ts'
import { installPlugin, noInstall } from '../harness/cluster/install.ts'
import { ROLE, SERVICE_ACCOUNT } from '../harness/cluster/kube-vault.ts'
import { NAMESPACE, passwordFile, startTeam } from '../harness/cluster/team.ts'
import { type Diagnosis, diagnosisOf } from '../harness/commands/doctor-bench.ts'

const run = promisify(execFile)
const name = `vfcdoc-${process.pid}`
const PASSWORD = 'correct horse'

t.setTimeout(600_000)

t.test('the doctor on a real cluster', { skip: noInstall || notOurs }, async (t) => {
  const team = await startTeam(t)
  const { vault } = team
  await vault.writeRole(ROLE, { audience: 'vault' })
  const values = { 'vault.address': vault.bao.adminAddress, 'vault.authPath': 'main-kube' }
  const plugin = await installPlugin({ name, values })
  t.teardown(() => plugin.uninstall())
  await vault.put('database-for-python-app', { password: PASSWORD })
  await team.applyImport('python-backend', { role: ROLE, files: [passwordFile] })

  const about = ['--import', `${NAMESPACE}/python-backend`]
  const login = [...about, '--service-account', SERVICE_ACCOUNT, '--dry-login']
  const driver = `--driver-name=${plugin.driverName}`

  /** The program as a cluster admin with a kubeconfig runs it. */
  const outside = (...args: string[]) =>
    printed(process.execPath, [join(ROOT, 'src/main.ts'), 'doctor', driver, ...args])
  /** As it is run in a pod of the plugin. */
  const inside = (...args: string[]) => {
    const program = ['node', '/app/dist/main.js', 'doctor', ...args]
    return printed('kubectl', ['exec', '-n', name, plugin.podName(), '--', ...program])
  }

  await t.test("an installation in order, from a cluster admin's machine", async (t) => {
    const { code, findings, of, text } = await outside('--json', ...login)
    t.equal(code, 0, text)
    const unwell = findings.filter(({ outcome }) => outcome === 'fail' || outcome === 'warn')
    t.strictSame(
      unwell.map((finding) => finding.name),
      ['Vault'],
      'which is plain http here',
    )
    t.match(of('registration'), { outcome: 'ok', detail: /node1/ })
    t.match(of('RBAC imports'), { outcome: 'ok' })
    t.match(of('CSI socket'), { outcome: 'ok' })
    t.match(of('registration socket'), { outcome: 'ok' })
    t.match(of('file db-password'), { outcome: 'ok' })
    t.strictSame(await vault.loginTokens(), [], 'the Vault token is revoked')
    t.notMatch(text, /eyJ|horse/)
  })

  await t.test("in the plugin's pod, with its rights and settings", async (t) => {
    const { code, of, text } = await inside('--json', ...login)
    t.equal(code, 0, text)
    t.match(of('CSIDriver'), { outcome: 'skipped', detail: /you may not read it/ })
    t.match(of('CRD'), { outcome: 'ok' })
    t.match(of('RBAC imports'), { outcome: 'ok', detail: /^the plugin may/ })
    t.match(of('CSI socket'), { outcome: 'ok', detail: /\/csi\/csi\.sock/ })
    t.match(of('Vault'), { detail: /is active/ })
    t.match(of('role'), { outcome: 'ok' })
    t.match(of('audience'), { outcome: 'skipped', detail: /--token-file/ })
  })

  await t.test("in the plugin's pod it logs in with a token that is piped to it", async (t) => {
    const token = `kubectl -n ${NAMESPACE} create token ${SERVICE_ACCOUNT} --audience=vault`
    const program = `node /app/dist/main.js doctor --json ${about.join(' ')} --dry-login --token-file=/dev/stdin`
    const command = `${token} | kubectl exec -i -n ${name} ${plugin.podName()} -- ${program}`
    const { code, of, text } = await printed('sh', ['-c', command])
    t.equal(code, 0, text)
    t.match(of('file db-password'), { outcome: 'ok' })
    t.strictSame(await vault.loginTokens(), [])
    t.notMatch(text, /eyJ|horse/)
  })

  await t.test('a fault is reported with a fix that works', async (t) => {
    for (const [field, value] of [
      ['requiresRepublish', false],
      ['podInfoOnMount', false],
      ['tokenRequests', []],
    ] as const) {
      const patch = JSON.stringify({ spec: { [field]: value } })
      mustKubectl(['patch', 'csidriver', plugin.driverName, '--type=merge', '-p', patch])
      const { code, of } = await outside('--json')
      const { outcome, fix = '' } = of(`CSIDriver ${field}`)
      t.equal(outcome, 'fail', field)
      t.equal(code, 1)
      await run('sh', ['-c', fix])
      t.equal((await outside('--json')).of(`CSIDriver ${field}`).outcome, 'ok', fix)
    }
    // Of these the fix says that they cannot be changed.
    for (const spec of [{ attachRequired: true }, { volumeLifecycleModes: ['Persistent'] }]) {
      const patch = JSON.stringify({ spec })
      t.not(kubectl(['patch', 'csidriver', plugin.driverName, '--type=merge', '-p', patch]).status, 0, patch)
    }
  })

  await t.test('missing rights are reported', async (t) => {
    mustKubectl(['patch', 'clusterrole', name, '--type=json', '-p', '[{"op":"remove","path":"/rules/0"}]'])
    const { code, of } = await outside('--json')
    t.match(of('RBAC imports'), {
      outcome: 'fail',
      detail: new RegExp(`${name}/${name} may not list or watch`),
    })
    t.equal(code, 1)
  })

  await t.test('a service account that the role does not know', async (t) => {
    await team.createServiceAccount('stranger')
    const { code, of } = await outside('--json', ...about, '--service-account=stranger', '--dry-login')
    t.equal(code, 1)
    t.match(of('login'), { outcome: 'fail', fix: /bound_service_account_names=stranger/ })
    const unknown = await outside('--json', ...about, '--service-account=nobody', '--dry-login')
    t.match(unknown.of('service account'), { outcome: 'fail', fix: /create serviceaccount nobody/ })
  })

  async function printed(program: string, args: readonly string[]): Promise<Diagnosis> {
    const ended = await run(program, [...args], { env: { ...process.env, NODE_OPTIONS: '' } }).catch(
      (error: { code: number; stdout: string; stderr: string }) => error,
    )
    const code = 'code' in ended ? ended.code : 0
    return diagnosisOf(code, ended.stdout, ended.stderr)
  }
})
