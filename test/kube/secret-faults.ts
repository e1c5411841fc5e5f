import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import type { Fault } from '../../src/core/faults/facts.ts'
import { status } from '../fakes/kube-api.ts'
import { faulty } from '../harness/faulty.ts'
import { DRIVER, ID, never, secretSyncBench, wantedSecret } from '../harness/kube/secret-sync-bench.ts'
import { createCertificateAuthority } from '../harness/pki/certificates.ts'

const START = Date.UTC(2030, 0, 1)
const ours = { 'app.kubernetes.io/managed-by': 'vault-files-csi' }

t.test('a Secret that another party created is refused, and never written', async (t) => {
  const { store, syncs } = await secretSyncBench(t, 'one')
  const foreign: [object, RegExp][] = [
    [{}, /a Secret of that name exists that driver d\.example\.org did not make; next: choose another name/],
    [{ labels: { 'app.kubernetes.io/managed-by': 'Helm' } }, /managed by "Helm"/],
    [{ labels: ours }, /did not make/],
    [{ labels: ours, annotations: { 'other.example.org/import': 'app' } }, /did not make/],
    [{ labels: ours, annotations: { [`${DRIVER}/import`]: 'other' } }, /SecretsStoreImport "other" already/],
    [{ annotations: { [`${DRIVER}/import`]: 'app' } }, /did not make/],
  ]
  for (const [metadata, message] of foreign) {
    store.secrets.clear()
    // It holds the same: not even then it is taken over.
    store.put(ID, { data: { PASSWORD: Buffer.from('first canary').toString('base64') }, metadata })
    const before = structuredClone(store.get(ID))
    await t.rejects(syncs.one.sync([wantedSecret()], never), faulty('sync_refused', message))
    t.strictSame(store.get(ID), before)
  }
  t.equal(store.writes, 0)
})

t.test('changes that Kubernetes does not allow are refused: type, and immutable content', async (t) => {
  const { store, syncs } = await secretSyncBench(t, 'one')
  await syncs.one.sync([wantedSecret()], never)
  await t.rejects(
    syncs.one.sync([wantedSecret({ type: 'example.org/other' })], never),
    faulty('sync_refused', /type "Opaque", not "example\.org\/other".*next: delete the Secret/),
  )
  store.put(ID, { immutable: true })
  await syncs.one.sync([wantedSecret()], never)
  await t.rejects(
    syncs.one.sync([wantedSecret({ data: { A: 'x' }, fetchedAt: START + 1 })], never),
    faulty('sync_refused', /immutable.*next: delete the Secret/),
  )
})

t.test('each refusal of the API server leads to a next step, without values', async (t) => {
  const { api, syncs } = await secretSyncBench(t, 'one')
  const cannot = (verb: string, what: string) =>
    status(
      403,
      'Forbidden',
      `${what} is forbidden: User "p" cannot ${verb} resource "${what}" in API group ""`,
    )
  const encoded = Buffer.from('first canary').toString('base64')
  const cases: [string, ReturnType<typeof status>, Fault, RegExp][] = [
    ['GET', cannot('get', 'secrets'), 'sync_unavailable', /403.*secretSync\.enabled=true in the Helm values/],
    ['POST', cannot('create', 'secrets'), 'sync_unavailable', /403.*secretSync\.enabled=true/],
    [
      'POST',
      status(403, 'Forbidden', "cannot set an ownerRef on a resource you can't delete: , <nil>"),
      'sync_unavailable',
      /secretSync\.grantDelete=true in the Helm values/,
    ],
    [
      'POST',
      status(
        403,
        'Forbidden',
        'exceeded quota: q, requested: secrets=1, used: secrets=3, limited: secrets=3',
      ),
      'sync_refused',
      /exceeded quota.*next: see what refuses it/,
    ],
    [
      'POST',
      status(400, 'BadRequest', `webhook denied "first canary" and ${encoded}`),
      'sync_refused',
      /400 BadRequest: webhook denied "\[…\]" and \[…\]/,
    ],
    // Cut to a line in the middle of the value.
    ['POST', status(400, 'BadRequest', `${'x'.repeat(474)}first canary`), 'sync_refused', /400 BadRequest/],
    [
      'POST',
      {
        status: 422,
        body: {
          reason: 'Invalid',
          message: 'data[A]: Invalid value: "first canary": bad',
          details: { causes: [{ reason: 'FieldValueInvalid', field: 'data[A]', message: 'first canary' }] },
        },
      },
      'sync_invalid',
      /422 Invalid: data\[A\] \(FieldValueInvalid\)/,
    ],
    ['GET', status(503, 'ServiceUnavailable', 'starting'), 'sync_unavailable', /503.*next: wait/],
    ['GET', status(401, 'Unauthorized'), 'sync_unavailable', /401/],
  ]
  for (const [on, answer, fault, message] of cases) {
    api.instead = ({ method }) => (method === on ? answer : undefined)
    const error = await syncs.one.sync([wantedSecret()], never).catch((thrown: Error) => thrown)
    t.match(error, faulty(fault, message))
    t.notMatch(`${error} ${JSON.stringify(error)}`, /xfirst|canary|Zmlyc3/)
  }
})

t.test('an API server that is away is tried again soon, and nothing is taken for written', async (t) => {
  const { api, store, syncs } = await secretSyncBench(t, 'one')
  await api.stop()
  const error = await syncs.one.sync([wantedSecret()], never).catch((thrown: Error) => thrown)
  t.match(error, faulty('sync_unavailable', /"shop\/app-secret".*API server at http.*ECONNREFUSED/))
  t.match(error, { retry: 'soon' })
  await api.start()
  await syncs.one.sync([wantedSecret()], never)
  t.strictSame(store.values(ID), { PASSWORD: 'first canary' })
})

t.test('an aborted sync rejects at once, and delays no other', async (t) => {
  const { api, store, syncs } = await secretSyncBench(t, 'one')
  api.instead = () => 'hang'
  const abort = new AbortController()
  const first = syncs.one.sync([wantedSecret()], abort.signal)
  const next = syncs.one.sync([wantedSecret()], never)
  abort.abort(new Error('enough'))
  await t.rejects(first, /enough/)
  api.instead = undefined
  await next
  t.strictSame(store.owners(ID), ['uid-of-web-0'])
})

t.test('content that its type does not allow is reported by key before anything is written', async (t) => {
  const { api, syncs, requests } = await secretSyncBench(t, 'one')
  const authority = createCertificateAuthority()
  const { certificate: crt, key } = authority.issue(['web.example.org'])
  const other = authority.issue(['web.example.org'])
  const locked = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'canary' },
  }).privateKey
  const docker = (text: string) => ({ '.dockerconfigjson': text })
  const tls = (crtText: string, keyText: string) => ({ 'tls.crt': crtText, 'tls.key': keyText })
  const cases: [string, Record<string, string>, RegExp | undefined][] = [
    ['tls', tls(crt, key), undefined],
    ['tls', tls(`${crt}\n${authority.certificate}`, key), undefined],
    ['tls', { 'tls.crt': crt }, /key "tls\.key": this type needs it/],
    ['tls', tls('canary', key), /key "tls\.crt": it is no PEM certificate/],
    ['tls', tls(crt, 'canary'), /key "tls\.key": it is no PEM private key/],
    ['tls', tls(crt, locked), /key "tls\.key": it is no PEM private key, or one with a passphrase/],
    ['tls', tls(crt, other.key), /key "tls\.key": it is not the key of the first certificate/],
    ['dockerconfigjson', docker('{"auths":{"r.example.org":{"auth":"canary"}}}'), undefined],
    ['dockerconfigjson', { other: 'x' }, /key "\.dockerconfigjson": this type needs it/],
    ['dockerconfigjson', docker('canary'), /it is no JSON/],
    ['dockerconfigjson', docker('["canary"]'), /it is no JSON object/],
    ['dockerconfigjson', docker('{"auths":"canary"}'), /it has no object "auths"/],
    ['dockercfg', { '.dockercfg': '{"r.example.org":{}}' }, undefined],
    ['dockercfg', { '.dockercfg': 'canary' }, /it is no JSON/],
    ['basic-auth', { password: 'canary' }, undefined],
    ['basic-auth', { pasword: 'canary' }, /needs key "username" or "password"/],
    ['ssh-auth', { 'ssh-privatekey': 'canary' }, undefined],
    ['ssh-auth', { key: 'canary' }, /key "ssh-privatekey"/],
    ['service-account-token', { token: 'canary' }, /made by Kubernetes alone/],
  ]
  for (const [index, [kind, data, message]] of cases.entries()) {
    const wanted = wantedSecret({ name: `secret-${index}`, type: `kubernetes.io/${kind}`, data })
    const error = await syncs.one.sync([wanted], never).catch((thrown: Error) => thrown)
    if (message === undefined) t.equal(error, undefined, `${kind} ${index}`)
    else t.match(error, faulty('sync_invalid', message))
    t.notMatch(String(error), /canary/)
    t.equal(requests(), message === undefined ? 'GET POST' : '')
  }
  await t.rejects(
    syncs.one.sync([wantedSecret({ type: 'bootstrap.kubernetes.io/token' })], never),
    faulty('sync_invalid', /join the cluster/),
  )
  await t.rejects(
    syncs.one.sync([wantedSecret({ data: { A: 'x'.repeat(1024 * 1024), B: 'y' } })], never),
    faulty('sync_invalid', /1048577 bytes, the API server takes 1048576/),
  )
  t.equal(api.store.secrets.size, 6)
})
