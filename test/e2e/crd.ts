import t from 'tap'
import { parseImport } from '../../src/core/imports/import.ts'
import { createNamespace, installCrd, kubectl, mustKubectl, noCluster } from '../harness/cluster/cluster.ts'
import { importManifest } from '../harness/cluster/manifests.ts'
import { badFeatures } from '../harness/imports/bad-features.ts'
import { badImports, certificate, fileOf, type Spec, sourceOf } from '../harness/imports/bad-imports.ts'
import { goodFeatures } from '../harness/imports/good-features.ts'
import { until } from '../harness/until.ts'

const namespace = `crd-${process.pid}`

/** What users have today, and each field of it. */
const today: [string, (spec: Spec) => void][] = [
  ['the example', () => {}],
  ['without type', (s) => delete s.type],
  ['authPath main-kube', (s) => Object.assign(s, { authPath: 'main-kube' })],
  ['authPath with slashes', (s) => Object.assign(s, { authPath: 'clusters/main_kube.v1' })],
  ['a Vault namespace', (s) => Object.assign(s, { namespace: 'team-a/sub_1.x' })],
  ['an address', (s) => Object.assign(s, { address: 'https://vault.example.org:8200' })],
  ['an http address with a path', (s) => Object.assign(s, { address: 'http://10.0.0.1:8200/vault' })],
  ['a CA', (s) => Object.assign(s, { caCert: certificate })],
  ['an empty CA', (s) => Object.assign(s, { caCert: '' })],
  ['an audience', (s) => Object.assign(s, { audience: 'https://vault.example.org' })],
  ['skipTLSVerify', (s) => Object.assign(s, { skipTLSVerify: true })],
  ['skipTLSVerify with a CA', (s) => Object.assign(s, { skipTLSVerify: true, caCert: certificate })],
  ['decodeBase64', (s) => Object.assign(fileOf(s), { decodeBase64: true })],
  ['a file name of all characters', (s) => Object.assign(fileOf(s), { name: '.a-B_9..z' })],
  ['a KV version 1 path', (s) => Object.assign(sourceOf(s), { path: 'kv1/app' })],
  ['a key of all characters', (s) => Object.assign(sourceOf(s), { key: 'my-Key_1.pem' })],
]

/** API.md's example of the new fields, as kubectl reads it: 0400 is octal there. */
const everything = `
apiVersion: deckhouse.io/v1alpha1
kind: SecretsStoreImport
metadata: { name: everything, namespace: ${namespace} }
spec:
  role: web
  authMethod: approle
  appRole: { roleId: 4f1a, secretIdRef: { name: app-role, key: secret-id } }
  caCertRef: { kind: ConfigMap, name: vault-ca, key: ca.crt }
  tlsServerName: ""
  refreshInterval: 2m
  updateMode: Live
  missingPolicy: Fail
  defaultMode: 0644
  sources:
  - name: web
    path: pki/issue/web
    method: PUT
    data: { common_name: web.example.org, ttl: 3600 }
    version: 0
    lease: { renewAt: 66, revokeOnUnmount: true }
  files:
  - name: tls.key
    source: { ref: web, key: private_key }
    encoding: utf-8
    mode: 0400
    optional: false
  - name: dsn
    source: { path: secret/data/db }
    template: "postgres://{{ user | url_encode }}:{{ password | url_encode }}@db/app"
  dataFrom:
  - { path: secret/data/app, prefix: "", include: "^[A-Z_]+$", exclude: "", format: Files, fileName: "" }
  credentials:
  - { format: Token, name: vault-token, mode: "0400" }
  - { format: WrappedSecretID, name: secret-id, role: batch, authPath: main-approle }
  secretSync:
  - { name: app-secret, type: Opaque, deletionPolicy: Retain, data: [ { key: PASSWORD, file: db-password } ] }
`

/** What `kubectl explain ssi.spec…` must say, so that it is enough. */
const taught: [string, RegExp][] = [
  ['', /Role of the auth mount/],
  ['.sources', /whose response several files share.*GET by default.*the latest by default or with 0/],
  ['.sources.lease', /66 by default.*true by default/],
  ['.files.template', /Liquid template.*is a key of the file's source/],
  ['.dataFrom', /All keys of a path.*JavaScript regular expression/],
  ['.credentials', /--allow-token-export.*Auth mount of the AppRole.*approle by default/],
  ['.secretSync', /--allow-secret-sync.*Delete by default.*Opaque by default/],
  ['.secretSync.data', /one file per key/],
]

t.test('the CRD on a real API server', { skip: noCluster }, async (t) => {
  await installCrd()
  t.teardown(createNamespace(namespace))
  const manifestOf = (change: (spec: Spec) => void) => {
    const manifest = importManifest(change)
    manifest.metadata.namespace = namespace
    return manifest
  }

  for (const [what, change, message] of [...badImports, ...badFeatures]) {
    t.test(`refuses ${what}`, async (t) => {
      const { status, stderr } = kubectl(['apply', '--dry-run=server', '-f', '-'], manifestOf(change))
      t.equal(status, 1)
      t.match(stderr, message)
    })
  }

  for (const [what, change] of today) {
    t.test(`takes what users have today, and so does the plugin: ${what}`, async (t) => {
      const manifest = manifestOf(change)
      const stored = JSON.parse(mustKubectl(['apply', '-f', '-', '-o', 'json'], manifest))
      t.has(stored.spec, manifest.spec, 'nothing is lost or changed')
      t.same(stored.spec.type, 'CSI')
      t.hasProp(parseImport(stored), 'spec')
      mustKubectl(['delete', 'ssi', 'python-backend', '-n', namespace])
    })
  }

  for (const [what, change] of goodFeatures) {
    t.test(`takes what is new, and so does the plugin: ${what}`, async (t) => {
      const manifest = manifestOf(change)
      const stored = JSON.parse(mustKubectl(['apply', '--dry-run=server', '-f', '-', '-o', 'json'], manifest))
      t.has(stored.spec, manifest.spec, 'nothing is lost or changed')
      t.hasProp(parseImport(stored), 'spec')
    })
  }

  t.test('modes are taken as numbers and as octal texts', async (t) => {
    for (const mode of [0, 0o400, 0o777, '0400', '0o400', '0777', '00']) {
      const manifest = manifestOf((spec) => Object.assign(fileOf(spec), { mode }))
      t.equal(kubectl(['apply', '--dry-run=server', '-f', '-'], manifest).stderr, '', String(mode))
      t.hasProp(parseImport(manifest), 'spec')
    }
  })

  t.test('keeps every field of the public surface, modes as octal', async (t) => {
    const stored = JSON.parse(mustKubectl(['apply', '-f', '-', '-o', 'json'], everything))
    t.equal(stored.spec.defaultMode, 0o644)
    t.equal(stored.spec.files[0].mode, 0o400)
    t.equal(stored.spec.credentials[0].mode, '0400')
    t.same(stored.spec.sources[0].data, { common_name: 'web.example.org', ttl: 3600 })
    t.match(stored.spec.secretSync, [
      { name: 'app-secret', deletionPolicy: 'Retain', data: [{ key: 'PASSWORD', file: 'db-password' }] },
    ])
    t.match(stored.spec.credentials[1], { role: 'batch', authPath: 'main-approle' })
    t.hasProp(parseImport(stored), 'spec')
  })

  t.test('only files may be left out, when credentials or dataFrom stand for them', async (t) => {
    for (const instead of [
      { credentials: [{ name: 'token', format: 'Token' }] },
      { dataFrom: [{ path: 'secret/data/app' }] },
    ]) {
      const manifest = manifestOf((spec) => Object.assign(spec, instead, { files: [] }))
      t.equal(kubectl(['apply', '--dry-run=server', '-f', '-'], manifest).stderr, '')
    }
  })

  t.test('an import of 512 files can be applied: the rules stay within their budget', async (t) => {
    const manifest = manifestOf((spec) => {
      const data = Array.from({ length: 256 }, (_, index) => ({ key: `${index}`, file: `file-${index}` }))
      const secrets = ['a', 'b', 'c', 'd'].map((name) => ({ name, data }))
      Object.assign(spec, { secretSync: secrets })
      spec.files = Array.from({ length: 512 }, (_, index) => ({ ...fileOf(spec), name: `file-${index}` }))
    })
    t.equal(kubectl(['apply', '--dry-run=server', '-f', '-'], manifest).stderr, '')
  })

  t.test('status is a subresource with conditions', async (t) => {
    mustKubectl(
      ['apply', '-f', '-'],
      manifestOf(() => {}),
    )
    const condition = {
      type: 'Accepted',
      status: 'True',
      reason: 'Valid',
      message: '',
      lastTransitionTime: '2030-01-01T00:00:00Z',
    }
    const patch = JSON.stringify({ status: { observedGeneration: 1, conditions: [condition] } })
    const args = ['patch', 'ssi', 'python-backend', '-n', namespace, '--type=merge', '-p', patch]
    mustKubectl([...args, '--subresource=status'])
    t.match(
      mustKubectl([
        'wait',
        '--for=condition=Accepted',
        '--timeout=5s',
        'ssi/python-backend',
        '-n',
        namespace,
      ]),
      /condition met/,
    )
  })

  t.test('kubectl get ssi shows role, first file and age', async (t) => {
    const table = mustKubectl(['get', 'ssi', '-n', namespace])
    t.match(table, /NAME +ROLE +FILES +AGE/)
    t.match(table, /everything +web +tls\.key +\d+s/)
    t.match(mustKubectl(['get', 'ssi', '-n', namespace, '-o', 'wide']), /AUTH +ADDRESS/)
  })

  t.test('kubectl explain teaches every field', async (t) => {
    t.match(mustKubectl(['explain', 'ssi.spec']), /role\t<string> -required-[\s\S]*Role of the auth mount/)
    const all = mustKubectl(['explain', 'ssi', '--recursive'])
    const fields = [
      'secretIdRef',
      'caCertRef',
      'renewAt',
      'template',
      'dataFrom',
      'credentials',
      'secretSync',
      'observedGeneration',
    ]
    for (const field of fields) t.match(all, new RegExp(`\\b${field}\\t`))
    for (const [place, says] of taught) {
      // Its lines are as wide as it likes.
      const described = mustKubectl(['explain', `ssi.spec${place}`]).replaceAll(/\s+/g, ' ')
      t.match(described, says, `ssi.spec${place}`)
      t.notMatch(described, /<no description>/, `ssi.spec${place}`)
    }
  })

  t.test('an import that a later rule would refuse stays, and its metadata can be edited', async (t) => {
    const { stdout } = kubectl(['get', 'crd', 'secretsstoreimports.deckhouse.io', '-o', 'json'])
    const before = JSON.parse(stdout)
    const { spec } = before.spec.versions[0].schema.openAPIV3Schema.properties
    spec['x-kubernetes-validations'] = []
    mustKubectl(['replace', '-f', '-'], before)
    const stale = manifestOf((spec) => {
      const data = [{ key: 'PASSWORD', file: 'gone' }]
      Object.assign(spec, { secretSync: [{ name: 'app', data }] })
    })
    stale.metadata.name = 'stale'
    await until('the rule to be gone', () => kubectl(['apply', '-f', '-'], stale).status === 0)
    await installCrd()
    await until('the rule to be back', () => {
      const fresh = { ...stale, metadata: { ...stale.metadata, name: 'fresh' } }
      return kubectl(['apply', '--dry-run=server', '-f', '-'], fresh).status !== 0
    })
    t.match(mustKubectl(['label', 'ssi', 'stale', '-n', namespace, 'team=a']), /labeled/)
    mustKubectl(['delete', 'ssi', 'stale', '-n', namespace])
  })
})
