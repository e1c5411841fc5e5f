import t from 'tap'
import { startDoctorBench } from '../../harness/commands/doctor-bench.ts'
import { createCertificateAuthority } from '../../harness/pki/certificates.ts'

const ref = '--import=my-namespace1/python-backend'

t.test('a missing import is reported with the existing ones', async (t) => {
  const { api, run } = await startDoctorBench(t)
  api.put('other')
  const { code, of } = await run([ref])
  t.match(of('import'), {
    outcome: 'fail',
    detail: /"python-backend" not found.*there exist "other"/,
    fix: /create it/,
  })
  t.match(of('login'), { outcome: 'skipped' })
  t.equal(code, 1)
})

t.test('an invalid import is reported with every fault by its field', async (t) => {
  const { api, run } = await startDoctorBench(t)
  api.put('python-backend', (spec) => {
    spec.role = 'a b'
    spec.updateMode = 'Never'
  })
  t.match((await run([ref])).of('import'), { outcome: 'fail', detail: /spec\.role: .*; spec\.updateMode: / })
})

t.test('an import without an address fails', async (t) => {
  const { api, run } = await startDoctorBench(t)
  api.put('python-backend')
  const { of } = await run([ref])
  t.match(of('address'), {
    outcome: 'fail',
    detail: /spec\.address is not set and the plugin has no --vault-addr/,
  })
  t.match(of('Vault'), { outcome: 'skipped' })
})

t.test("an import that the plugin's settings refuse is reported with the flag", async (t) => {
  const { api, run } = await startDoctorBench(t)
  api.put('python-backend', (spec) => {
    spec.address = 'http://127.0.0.1:9'
  })
  t.match((await run([ref])).of('allowed'), {
    outcome: 'fail',
    fix: /--allow-address=http:\/\/127\.0\.0\.1:9/,
  })
  const flags = ['--allow-address=*', '--allow-http']
  const { of } = await run([ref, ...flags])
  t.match(of('allowed'), { outcome: 'ok' })
  t.match(of('Vault'), { outcome: 'fail', detail: /cannot be reached \(connection refused\)/ })
  t.match(of('role'), { outcome: 'skipped', detail: 'Vault does not serve requests' })
})

t.test('the CA of a caCertRef is read, or the reason is reported', async (t) => {
  const { api, objects, run } = await startDoctorBench(t)
  api.put('python-backend', (spec) => {
    spec.caCertRef = { kind: 'ConfigMap', name: 'ca', key: 'ca.crt' }
  })
  const flags = [ref, '--vault-addr=https://127.0.0.1:9']
  const missing = await run(flags)
  t.match(missing.of('CA of the import'), { outcome: 'fail', detail: /"my-namespace1\/ca" does not exist/ })
  t.match(missing.of('RBAC configmaps'), { outcome: 'ok' })
  const data = { 'ca.crt': createCertificateAuthority().certificate }
  objects.set('/api/v1/namespaces/my-namespace1/configmaps/ca', { data })
  const { of } = await run(flags)
  t.match(of('CA of the import'), { outcome: 'ok', detail: /key ca\.crt of ConfigMap my-namespace1\/ca/ })
  t.match(of('Vault'), { outcome: 'fail', detail: /cannot be reached/ })
})

t.test('imports that may not be listed are not a failure of the installation', async (t) => {
  const { denied, run } = await startDoctorBench(t)
  denied.add('/apis/deckhouse.io/v1alpha1/namespaces/my-namespace1/secretsstoreimports')
  const { code, of } = await run([ref])
  t.match(of('import'), { outcome: 'skipped', detail: /you may not list imports in my-namespace1/ })
  t.equal(code, 0)
})
