import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createReport } from '../../../src/commands/doctor/report.ts'
import { checkSockets } from '../../../src/commands/doctor/sockets.ts'

const never = new AbortController().signal

/** kubelet's directory on a node, and the doctor's check of it as it runs on the host. */
function node(t: Test) {
  const root = mkdtempSync(join(tmpdir(), 'vault-files-doctor-'))
  t.teardown(() => rmSync(root, { recursive: true, force: true }))
  const driverName = 'doctor.csi.example.org'
  const csi = join(root, 'plugins', driverName, 'csi.sock')
  const registration = join(root, 'plugins_registry', `${driverName}-reg.sock`)
  const check = async (registrationSocket: string | undefined = `/registration/${driverName}-reg.sock`) => {
    const report = createReport(never)
    const settings = {
      endpoint: 'unix:///csi/csi.sock',
      kubeletEndpoint: csi,
      registrationSocket,
      driverName,
    }
    await checkSockets(report, settings, never)
    return report.findings
  }
  const makeFolders = () => {
    mkdirSync(join(csi, '..'), { recursive: true })
    mkdirSync(join(registration, '..'))
  }
  return { csi, registration, check, makeFolders }
}

function serve(t: Test, path: string): Promise<void> {
  const server = createServer()
  t.teardown(() => server.close())
  return new Promise((resolve) => server.listen(path, resolve))
}

t.test('on a machine that is not a node both checks are skipped', async (t) => {
  t.match(await node(t).check(), [
    { name: 'CSI socket', outcome: 'skipped', detail: /not a node/ },
    { name: 'registration socket', outcome: 'skipped', detail: /not a node/ },
  ])
})

t.test('where the plugin runs both sockets answer at their host paths', async (t) => {
  const { csi, registration, check, makeFolders } = node(t)
  makeFolders()
  await serve(t, csi)
  await serve(t, registration)
  t.match(await check(), [
    { outcome: 'ok', detail: `the plugin answers at ${csi}` },
    { outcome: 'ok', detail: `the plugin answers at ${registration}` },
  ])
})

t.test('a socket left by a stopped plugin does not answer', async (t) => {
  const { csi, check, makeFolders } = node(t)
  makeFolders()
  writeFileSync(csi, '')
  t.match(await check(), [
    { outcome: 'fail', detail: /no answer at .*ECONNREFUSED/, fix: /kubectl get pods/ },
    { outcome: 'fail', detail: /there is no socket in .*plugins_registry/ },
  ])
})

t.test('without --registration-socket only the CSI socket is checked', async (t) => {
  const { csi, makeFolders } = node(t)
  makeFolders()
  await serve(t, csi)
  const report = createReport(never)
  const settings = { endpoint: `unix://${csi}`, kubeletEndpoint: csi, driverName: 'd.example.org' }
  await checkSockets(report, { ...settings, registrationSocket: undefined }, never)
  t.match(report.findings, [{ outcome: 'ok' }, { outcome: 'skipped', detail: /is off/ }])
})
