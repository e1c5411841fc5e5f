import t from 'tap'
import type { Outcome } from '../../../src/commands/doctor/report.ts'
import { type DoctorBench, DRIVER, NODE, startDoctorBench } from '../../harness/commands/doctor-bench.ts'
import { createCertificateAuthority } from '../../harness/pki/certificates.ts'

const CRD = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/secretsstoreimports.deckhouse.io'

t.test('the shipped manifests pass', async (t) => {
  const { run } = await startDoctorBench(t)
  const { code, findings } = await run()
  t.equal(code, 0)
  t.strictSame(
    findings.filter(({ outcome }) => outcome === 'fail' || outcome === 'warn'),
    [],
  )
  const ok = findings.filter(({ outcome }) => outcome === 'ok').map(({ name }) => name)
  for (const name of ['API server', 'CRD', 'CSIDriver', 'plugin', 'registration', 'settings', 'RBAC imports'])
    t.ok(ok.includes(name), name)
})

const wrongFields: [field: string, value: unknown, outcome: Outcome, detail: RegExp, fix: RegExp][] = [
  [
    'podInfoOnMount',
    false,
    'fail',
    /^false: kubelet does not say which pod/,
    /patch csidriver .*"podInfoOnMount":true/,
  ],
  ['podInfoOnMount', undefined, 'fail', /^false/, /kubectl patch/],
  ['tokenRequests', [], 'fail', /^none: kubelet passes no/, /"tokenRequests":\[\{"audience":"vault"\}\]/],
  ['requiresRepublish', false, 'fail', /never passes new tokens/, /"requiresRepublish":true/],
  ['volumeLifecycleModes', ['Persistent'], 'fail', /refuses inline volumes/, /kubectl delete csidriver/],
  ['fsGroupPolicy', 'File', 'warn', /^File: kubelet may change the group/, /"fsGroupPolicy":"None"/],
  ['attachRequired', true, 'warn', /no controller/, /kubectl delete csidriver/],
]
for (const [field, value, outcome, detail, fix] of wrongFields) {
  t.test(`CSIDriver with ${field} ${JSON.stringify(value)}: ${outcome}`, async (t) => {
    const { csiDriver, run } = await startDoctorBench(t)
    csiDriver.spec[field] = value
    const { code, of } = await run()
    t.match(of(`CSIDriver ${field}`), { outcome, detail, fix })
    t.equal(code, outcome === 'fail' ? 1 : 0)
  })
}

const broken: [
  what: string,
  damage: (bench: DoctorBench) => void,
  name: string,
  outcome: Outcome,
  detail: RegExp,
  fix: RegExp | undefined,
][] = [
  [
    'no CRD',
    ({ objects }) => objects.delete(CRD),
    'CRD',
    'fail',
    /is not installed/,
    /kubectl apply .*deploy\/crd/,
  ],
  [
    'a CRD of another version',
    ({ crd }) => {
      crd.spec.versions[0].name = 'v1'
    },
    'CRD',
    'fail',
    /v1alpha1 is not served; served versions: v1/,
    /kubectl apply/,
  ],
  [
    'a CRD from before caCertRef',
    ({ crd }) => {
      const { spec } = crd.spec.versions[0].schema.openAPIV3Schema.properties
      delete spec.properties.caCertRef
      delete spec.properties.files.items.properties.mode
    },
    'CRD',
    'warn',
    /lacks spec\.caCertRef, spec\.files\[\]\.mode/,
    /kubectl apply/,
  ],
  ['a CRD that may not be read', ({ denied }) => denied.add(CRD), 'CRD', 'ok', /is served/, undefined],
  [
    'no CSIDriver',
    ({ objects }) => objects.delete(`/apis/storage.k8s.io/v1/csidrivers/${DRIVER}`),
    'CSIDriver',
    'fail',
    /does not exist/,
    /install the chart/,
  ],
  [
    'a CSIDriver that may not be read',
    ({ denied }) => denied.add(`/apis/storage.k8s.io/v1/csidrivers/${DRIVER}`),
    'CSIDriver',
    'skipped',
    /you may not read it: 403 Forbidden/,
    undefined,
  ],
  [
    'an old API server',
    ({ objects }) => objects.set('/version', { major: '1', minor: '27+', gitVersion: 'v1.27.3' }),
    'API server',
    'warn',
    /v1\.27\.3/,
    /1\.29 or later/,
  ],
  [
    'pods that are not ready',
    ({ daemonSet }) => {
      daemonSet.status.desiredNumberScheduled = 3
    },
    'plugin',
    'warn',
    /1 of 3 pods ready/,
    /describe ds\/vault-files-csi/,
  ],
  [
    'a kubelet that has not registered the plugin',
    ({ csiNode }) => {
      csiNode.spec.drivers = null
    },
    'registration',
    'fail',
    new RegExp(`ready on ${NODE}, but kubelet there does not list ${DRIVER}`),
    /--registration-socket/,
  ],
  [
    'a driver without a ready plugin pod',
    ({ objects }) => objects.set('/api/v1/namespaces/vault-files-csi/pods', { items: [] }),
    'registration',
    'warn',
    /no plugin pod is ready there/,
    /plugin pods/,
  ],
  [
    'no DaemonSet and no node that lists the driver',
    ({ objects }) => {
      objects.set('/apis/apps/v1/daemonsets', { items: [] })
      objects.set('/apis/storage.k8s.io/v1/csinodes', { items: [] })
    },
    'registration',
    'fail',
    /no node lists/,
    /install the plugin/,
  ],
  [
    'imports that the plugin may not list',
    ({ refused }) => refused.add('list secretsstoreimports'),
    'RBAC imports',
    'fail',
    /vault-files-csi\/vault-files-csi may not list: the plugin cannot read imports/,
    /helm upgrade/,
  ],
  [
    'conditions of imports that the plugin may not write',
    ({ refused }) => refused.add('patch secretsstoreimports'),
    'RBAC import status',
    'warn',
    /may not patch: imports do not say whether they are valid/,
    /rbac\.importStatus=true/,
  ],
  [
    'events that the plugin may not write',
    ({ refused }) => refused.add('patch events'),
    'RBAC events',
    'warn',
    /may not patch/,
    /rbac\.events=true/,
  ],
  [
    'settings that this release does not know',
    ({ daemonSet }) => daemonSet.spec.template.spec.containers[0].args.push('--frobnicate'),
    'settings',
    'fail',
    /unknown flag "--frobnicate"/,
    /same release/,
  ],
]
for (const [what, damage, name, outcome, detail, fix] of broken) {
  t.test(`${what}: ${name} ${outcome}`, async (t) => {
    const bench = await startDoctorBench(t)
    damage(bench)
    const { code, of } = await bench.run()
    t.match(of(name), { outcome, detail, ...(fix ? { fix } : {}) })
    t.equal(code, outcome === 'fail' ? 1 : 0)
  })
}

t.test("rights are checked for the service account of the plugin's DaemonSet", async (t) => {
  const { api, daemonSet, run } = await startDoctorBench(t)
  daemonSet.spec.template.spec.serviceAccountName = 'other'
  await run()
  const reviews = api.seen.filter(({ path }) => path.endsWith('/subjectaccessreviews'))
  t.match(reviews[0]?.body, {
    kind: 'SubjectAccessReview',
    spec: {
      user: 'system:serviceaccount:vault-files-csi:other',
      groups: ['system:serviceaccounts', 'system:serviceaccounts:vault-files-csi', 'system:authenticated'],
      resourceAttributes: { group: 'deckhouse.io', resource: 'secretsstoreimports', verb: 'list' },
    },
  })
})

t.test('rights that only some imports need are checked when such imports exist', async (t) => {
  const { api, refused, run } = await startDoctorBench(t)
  refused.add('create serviceaccounts').add('get secrets').add('get configmaps')
  api.put('usual', (spec) => {
    spec.audience = 'vault'
  })
  t.notOk((await run()).findings.some(({ name }) => /RBAC (tokens|secrets|configmaps)/.test(name)))
  api.put('special', (spec) => {
    spec.audience = 'elsewhere'
    spec.caCertRef = { kind: 'Secret', name: 'ca', key: 'ca.crt' }
  })
  const { code, of, findings } = await run()
  t.match(of('RBAC tokens'), {
    outcome: 'fail',
    detail: /serviceaccounts\/token/,
    fix: /rbac\.tokenRequest=true/,
  })
  t.match(of('RBAC secrets'), { outcome: 'fail', fix: /rbac\.secrets=true/ })
  t.notOk(findings.some(({ name }) => name === 'RBAC configmaps'))
  t.equal(code, 1)
})

t.test('AppRole needs to read Secrets; secretSync, where allowed, needs to write them', async (t) => {
  const { api, daemonSet, refused, run } = await startDoctorBench(t)
  refused.add('get secrets').add('create secrets').add('get pods')
  api.put('synced', (spec) => {
    spec.secretSync = [{ name: 'app', data: [{ key: 'PASSWORD', file: 'db-password' }] }]
  })
  t.notOk((await run()).findings.some(({ name }) => /RBAC (secrets|synced|pods)/.test(name)))
  daemonSet.spec.template.spec.containers[0].args.push('--allow-secret-sync')
  const { of } = await run()
  t.match(of('RBAC synced secrets'), {
    outcome: 'fail',
    detail: /get or create/,
    fix: /secretSync\.enabled=true/,
  })
  t.match(of('RBAC pods'), { outcome: 'warn', fix: /secretSync\.enabled=true/ })
  api.put('role', (spec) => {
    spec.authMethod = 'approle'
    spec.appRole = { roleId: 'id', secretIdRef: { name: 'app-role', key: 'secret-id' } }
  })
  t.match((await run()).of('RBAC secrets'), { outcome: 'fail', fix: /rbac\.secrets=true/ })
})

t.test("the plugin's settings come from its DaemonSet, not from the doctor's environment", async (t) => {
  const { daemonSet, run } = await startDoctorBench(t)
  daemonSet.spec.template.spec.containers[0].args.push('--vault-addr=http://127.0.0.1:9')
  const env = { VAULT_ADDR: 'http://127.0.0.1:7' }
  t.match((await run([], env)).of('Vault'), { outcome: 'fail', detail: /127\.0\.0\.1:9 cannot be reached/ })
  const flag = ['--vault-addr=http://127.0.0.1:6']
  t.match((await run(flag, env)).of('Vault'), { outcome: 'fail', detail: /127\.0\.0\.1:6 cannot be reached/ })
})

t.test("the CA and the settings file are read from the ConfigMaps of the plugin's pods", async (t) => {
  const { daemonSet, objects, run } = await startDoctorBench(t)
  const { spec } = daemonSet.spec.template
  spec.containers[0].args.push('--vault-ca-cert=/vault-ca/ca.crt', '--config=/vault-ca/settings.yaml')
  spec.containers[0].volumeMounts.push({ name: 'vault-ca', mountPath: '/vault-ca' })
  spec.volumes.push({ name: 'vault-ca', configMap: { name: 'files' } })
  const data = {
    'ca.crt': createCertificateAuthority().certificate,
    'settings.yaml': 'vault-addr: https://127.0.0.1:9\n',
  }
  objects.set('/api/v1/namespaces/vault-files-csi/configmaps/files', { data })
  const { of } = await run()
  t.match(of('Vault CA'), {
    outcome: 'ok',
    detail: '--vault-ca-cert /vault-ca/ca.crt, key ca.crt of ConfigMap vault-files-csi/files',
  })
  t.match(of('Vault'), { outcome: 'fail', detail: /https:\/\/127\.0\.0\.1:9 cannot be reached/ })
  data['ca.crt'] = 'nothing'
  t.match((await run()).of('Vault CA'), { outcome: 'fail', detail: /holds no PEM certificate/ })
  data['ca.crt'] = undefined as unknown as string
  const unreadable = await run()
  t.match(unreadable.of('Vault CA'), { outcome: 'skipped', detail: /give --vault-ca-cert FILE/ })
  t.match(unreadable.of('Vault'), { outcome: 'skipped', detail: /CA for Vault's certificate is not known/ })
})

t.test('without an API server everything that needs one is skipped', async (t) => {
  const { api, run } = await startDoctorBench(t)
  await api.stop()
  const { code, of } = await run(['--import=shop/app'])
  t.equal(code, 1)
  t.match(of('API server'), { outcome: 'fail', detail: /ECONNREFUSED/ })
  for (const name of ['CRD', 'CSIDriver', 'plugin', 'registration', 'RBAC', 'import'])
    t.match(of(name), { outcome: 'skipped', detail: 'the API server does not answer' })
  await api.start()
})

t.test('credentials that the API server refuses are reported', async (t) => {
  const { api, run } = await startDoctorBench(t)
  api.validToken = 'another'
  t.match((await run()).of('API server'), { outcome: 'fail', detail: /401 Unauthorized/ })
})

t.test('a missing kubeconfig is reported', async (t) => {
  const { run } = await startDoctorBench(t)
  const { code, of } = await run([], { KUBECONFIG: '/nowhere/kubeconfig' })
  t.match(of('API server'), { outcome: 'fail', detail: /\/nowhere\/kubeconfig/, fix: 'correct KUBECONFIG' })
  t.equal(code, 1)
})
