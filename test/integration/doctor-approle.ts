import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { importManifest } from '../harness/cluster/manifests.ts'
import { diagnose, startDoctorBench } from '../harness/commands/doctor-bench.ts'
import { NAMESPACE, startRealVault } from '../harness/vault/real-vault.ts'
import { setUpAppRole } from '../harness/vault/vault-engines.ts'

const SECRET = `/api/v1/namespaces/${NAMESPACE}/secrets/app-role`
const REF = ['--import=shop/app', '--dry-login']

const vault = await startRealVault()
t.teardown(() => vault.close())
await vault.put('app', { password: 'canary-c0ffee' })
const appRole = await setUpAppRole(vault.admin)
const at = `--vault-addr=${vault.bao.address}`

function manifest(more: object = {}) {
  const made = importManifest((spec) => {
    Object.assign(spec, {
      role: 'app',
      authMethod: 'approle',
      authPath: 'approle',
      appRole: { roleId: appRole.roleId, secretIdRef: { name: 'app-role', key: 'id' } },
      files: [{ name: 'password', source: { path: 'secret/data/app', key: 'password' } }],
      ...more,
    })
  })
  Object.assign(made.metadata, { name: 'app', namespace: NAMESPACE })
  return made
}

t.test('logs in with the secret ID that the import refers to, and gives the token back', async (t) => {
  const { objects, denied, run } = await startDoctorBench(t)
  const imports = '/apis/deckhouse.io/v1alpha1/namespaces/shop/secretsstoreimports'
  const secretId = await appRole.newSecretId()
  const keep = (text: string) => objects.set(SECRET, { data: { id: Buffer.from(text).toString('base64') } })
  objects.set(imports, { items: [manifest()] })
  keep(`${secretId}\n`)
  const { code, of, text } = await run([at, ...REF])
  t.equal(code, 0, text)
  t.match(of('role'), { outcome: 'skipped', detail: /AppRole mount; only a login can check more/ })
  t.match(of('secret ID'), { outcome: 'ok', detail: 'key id of Secret shop/app-role' })
  t.match(of('login'), { outcome: 'ok', detail: /as role "app" at auth\/approle/ })
  t.match(of('file password'), { outcome: 'ok' })
  t.match(of('revocation'), { outcome: 'ok' })
  t.strictSame(await vault.loginTokens(), [])
  for (const secret of [secretId, 'canary']) t.notOk(text.includes(secret), 'nothing secret is printed')

  keep('a-wrong-one')
  t.match((await run([at, ...REF])).of('login'), {
    outcome: 'fail',
    detail: /role ID or secret ID is wrong/,
    fix: /make a new secret ID/,
  })
  objects.set(imports, { items: [manifest({ authPath: 'kubernetes' })] })
  t.match((await run([at, ...REF])).of('auth mount'), {
    outcome: 'fail',
    detail: /is not of type approle/,
  })
  objects.set(imports, { items: [manifest()] })
  denied.add(SECRET)
  const refused = await run([at, ...REF])
  t.match(refused.of('secret ID'), { outcome: 'fail', fix: /rbac\.secrets=true/ })
  t.match(refused.of('login'), { outcome: 'skipped', detail: 'there is no secret ID to log in with' })
})

t.test('without an API server there is none: reported as it is to pods', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'vault-files-doctor-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'app.json'), JSON.stringify(manifest()))
  const { of, code } = await diagnose([`--imports=dir:${folder}`, at, ...REF])
  t.equal(code, 1)
  t.match(of('secret ID'), { outcome: 'fail', detail: /secretIdRef.*no API server/, fix: /--imports=kube/ })
})

t.test('a dry login without a named service account makes no login', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'vault-files-doctor-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const plain = manifest({ authMethod: 'kubernetes', authPath: 'kubernetes', appRole: undefined })
  writeFileSync(join(folder, 'app.json'), JSON.stringify(plain))
  const { of } = await diagnose([`--imports=dir:${folder}`, at, ...REF])
  t.match(of('service-account token'), {
    outcome: 'fail',
    fix: /--service-account NAME or --token-file FILE/,
  })
  t.match(of('login'), { outcome: 'skipped' })
})
