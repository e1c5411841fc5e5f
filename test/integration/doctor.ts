import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startVaultFront } from '../fakes/vault-front.ts'
import { type ImportManifest, importManifest } from '../harness/cluster/manifests.ts'
import { diagnose, startDoctorBench } from '../harness/commands/doctor-bench.ts'
import { createCertificateAuthority } from '../harness/pki/certificates.ts'
import { NAMESPACE, startRealVault } from '../harness/vault/real-vault.ts'

/** Stands in every secret: never to be seen. */
const CANARY = 'canary-c0ffee'
const REF = '--import=shop/app'

const authority = createCertificateAuthority()
const vault = await startRealVault({ tls: { ...authority.issue(['127.0.0.1']), ca: authority.certificate } })
t.teardown(() => vault.close())
await vault.put('app', { password: `${CANARY}-1`, user: `${CANARY}-2` })

const file = (name: string, path: string, key: string, more: object = {}) => ({
  name,
  source: { path, key },
  ...more,
})

/** What a change makes of an import that is in order. */
function manifest(change: (spec: ImportManifest['spec']) => void = () => {}): ImportManifest {
  const made = importManifest((spec) => {
    spec.role = 'app'
    spec.files = [file('password', 'secret/data/app', 'password'), file('user', 'secret/data/app', 'user')]
    change(spec)
  })
  Object.assign(made.metadata, { name: 'app', namespace: NAMESPACE })
  return made
}

/** Runs the doctor on a directory of manifests, with a token of the service account in a file. */
function directory(t: Test, change?: (spec: ImportManifest['spec']) => void) {
  const folder = mkdtempSync(join(tmpdir(), 'vault-files-doctor-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, 'app.yaml'), JSON.stringify(manifest(change)))
  writeFileSync(join(folder, 'ca.crt'), authority.certificate)
  const token = vault.issuer.issue({ namespace: NAMESPACE, serviceAccount: 'backend', audience: 'vault' })
  writeFileSync(join(folder, 'token'), `${token}\n`)
  const where = [`--imports=dir:${folder}`, `--vault-addr=${vault.bao.address}`]
  const ca = `--vault-ca-cert=${join(folder, 'ca.crt')}`
  const login = [REF, '--dry-login', `--token-file=${join(folder, 'token')}`]
  return { folder, token, where, ca, login }
}

/** Vault holds no token of ours any more, and nothing secret was printed. */
async function leavesNothing(t: Test, text: string, ...tokens: string[]) {
  t.strictSame(await vault.loginTokens(), [], 'the Vault token is revoked')
  for (const secret of [CANARY, ...tokens]) t.notOk(text.includes(secret), 'nothing secret is printed')
  t.notMatch(text, /eyJ|\b(hv)?[sbr]\.[A-Za-z0-9]{20}/)
}

t.test('an import that is in order is in order to the last file', async (t) => {
  const { where, ca, login, token } = directory(t)
  const { code, of, findings, text } = await diagnose([...where, ca, ...login])
  t.equal(code, 0)
  t.notOk(findings.some(({ outcome }) => outcome === 'fail' || outcome === 'warn'))
  t.match(of('Vault'), { outcome: 'ok', detail: /is active, version \d.*verified against --vault-ca-cert/ })
  t.match(of('role'), { outcome: 'ok' })
  t.match(of('login'), { outcome: 'ok', detail: /as role "app" at auth\/kubernetes: a Vault token for 10m/ })
  t.match(of('policy secret/data/app'), { outcome: 'ok', detail: /grant read/ })
  t.match(of('read secret/data/app'), { outcome: 'ok', detail: '2 keys, version 1' })
  t.match(of('file user'), { outcome: 'ok' })
  t.match(of('revocation'), { outcome: 'ok' })
  await leavesNothing(t, text, token)
})

t.test('templates and whole paths are tried; what would be issued is not', async (t) => {
  const { where, ca, login, token } = directory(t, (spec) => {
    spec.sources = [
      { name: 'made', path: 'secret/data/made', method: 'PUT', data: { data: { made: 'yes' } } },
      { name: 'first', path: 'secret/data/app', version: 1 },
    ]
    spec.files = [
      { name: 'dsn', source: { path: 'secret/data/app' }, template: '{{ user }}:{{ first.password }}' },
      { name: 'typo', source: { path: 'secret/data/app' }, template: '{{ usr }}' },
      { name: 'made', source: { ref: 'made', key: 'version' } },
    ]
    Object.assign(spec, {
      dataFrom: [
        { path: 'secret/data/app', format: 'Shell', fileName: 'app.env' },
        { path: 'secret/data/app', prefix: 'a-' },
      ],
      credentials: [
        { format: 'Token', name: 'token' },
        { format: 'CABundle', name: 'ca.pem' },
      ],
    })
  })
  const { of, text } = await diagnose([...where, ca, ...login, '--allow-token-export'])
  t.match(of('import'), {
    detail: /files dsn, typo, made, app\.env, all of secret\/data\/app, token, ca\.pem/,
  })
  t.match(of('read secret/data/app'), { outcome: 'ok' })
  t.match(of('read secret/data/app?version=1'), { outcome: 'ok', detail: '2 keys, version 1' })
  t.match(of('policy secret/data/made'), {
    outcome: 'fail',
    fix: /path "secret\/data\/made" \{ capabilities = \["update"\] \}/,
  })
  t.match(of('issue secret/data/made'), {
    outcome: 'skipped',
    detail: 'issued when a pod mounts it, not tried',
  })
  t.match(of('file dsn'), { outcome: 'ok' })
  t.match(of('file typo'), {
    outcome: 'fail',
    detail: /there is no "usr" \(line 1\); there exist "password", "user"/,
  })
  t.match(of('file made'), { outcome: 'skipped', detail: /not tried/ })
  t.match(of('files of secret/data/app'), { outcome: 'ok', detail: 'Shell: app.env' })
  t.match(of('file token'), { outcome: 'skipped', detail: /not tried/ })
  t.match(of('file ca.pem'), { outcome: 'ok' })
  await leavesNothing(t, text, token)
})

t.test('each file that could not be written is reported, with the next steps', async (t) => {
  const { where, ca, login, token } = directory(t, (spec) => {
    spec.files = [
      file('pin', 'secret/data/app', 'pin'),
      file('hex', 'secret/data/app', 'user', { encoding: 'hex' }),
      file('none', 'secret/data/none', 'x'),
      file('locked', 'locked/data/x', 'x'),
      file('old', 'secret/app', 'password'),
      file('maybe', 'secret/data/maybe', 'x', { optional: true }),
      file('perhaps', 'secret/data/app', 'perhaps', { optional: true }),
    ]
  })
  const { code, of, text } = await diagnose([...where, ca, ...login])
  t.equal(code, 1)
  t.match(of('file pin'), { outcome: 'fail', detail: /no key "pin"; there exist "password", "user"/ })
  t.match(of('file hex'), { outcome: 'fail', detail: /not valid hex/ })
  t.match(of('read secret/data/none'), { outcome: 'fail', detail: /nothing is stored/ })
  t.match(of('file none'), { outcome: 'skipped' })
  t.match(of('policy locked/data/x'), {
    outcome: 'fail',
    fix: /path "locked\/data\/x" \{ capabilities = \["read"\] \}/,
  })
  t.match(of('read locked/data/x'), { outcome: 'skipped' })
  t.match(of('read secret/app'), { outcome: 'fail', fix: 'use path "secret/data/app"' })
  t.match(of('read secret/data/maybe'), { outcome: 'warn', detail: /tolerates it/ })
  t.match(of('file maybe'), { outcome: 'warn' })
  t.match(of('file perhaps'), { outcome: 'warn', detail: /key "perhaps"/ })
  await leavesNothing(t, text, token)
})

t.test('without --dry-login there is no login, and a missing role is still reported', async (t) => {
  const { where, ca } = directory(t, (spec) => {
    spec.role = 'other'
  })
  for (const mount of ['kubernetes', 'jwt']) {
    const { of } = await diagnose([...where, ca, REF, `--vault-auth-path=${mount}`])
    t.match(of('auth mount'), { outcome: 'ok' })
    t.match(of('role'), {
      outcome: 'fail',
      detail: /role does not exist/,
      fix: /bound_service_account_names=NAME/,
    })
    t.match(of('login'), { outcome: 'skipped', detail: '--dry-login is not given' })
  }
  const { of, code } = await diagnose([...where, ca, REF, '--vault-auth-path=nope'])
  t.match(of('auth mount'), {
    outcome: 'fail',
    detail: /no auth method answers at auth\/nope/,
    fix: /spec\.authPath/,
  })
  t.equal(code, 1)
})

t.test('a login that Vault refuses: which part, and the command', async (t) => {
  const { where, ca, login, folder } = directory(t)
  const stranger = vault.issuer.issue({
    namespace: 'elsewhere',
    serviceAccount: 'backend',
    audience: 'vault',
  })
  writeFileSync(join(folder, 'token'), stranger)
  const { of } = await diagnose([...where, ca, ...login])
  t.match(of('login'), {
    outcome: 'fail',
    detail: /namespace is not bound to the role.*service account "elsewhere\/backend"/,
    fix: /bao write auth\/kubernetes\/role\/app/,
  })
  t.match(of('files'), { outcome: 'skipped', detail: 'the login failed' })
})

t.test('a token file that holds none, or a stale one', async (t) => {
  const { where, ca, login, folder } = directory(t)
  const name = 'service-account token'
  writeFileSync(join(folder, 'token'), CANARY)
  const none = await diagnose([...where, ca, ...login])
  t.match(none.of(name), { outcome: 'fail', detail: /holds no service-account token/ })
  t.notOk(none.text.includes(CANARY))
  const stale = { namespace: NAMESPACE, serviceAccount: 'backend', audience: 'vault', ttl: -60 }
  writeFileSync(join(folder, 'token'), vault.issuer.issue(stale))
  t.match((await diagnose([...where, ca, ...login])).of(name), { outcome: 'fail', detail: /expired at/ })
  rmSync(join(folder, 'token'))
  t.match((await diagnose([...where, ca, ...login])).of(name), { outcome: 'fail', detail: /ENOENT/ })
})

t.test('TLS: another CA, no CA, no verification', async (t) => {
  const { where, ca, folder } = directory(t)
  t.match((await diagnose(where)).of('Vault'), {
    outcome: 'fail',
    detail: /x509: certificate signed by an unknown authority.*Node's own CAs/,
    fix: /--vault-ca-cert/,
  })
  writeFileSync(join(folder, 'ca.crt'), createCertificateAuthority().certificate)
  t.match((await diagnose([...where, ca])).of('Vault'), {
    outcome: 'fail',
    detail: /checked against --vault-ca-cert/,
  })
  t.match((await diagnose([...where, '--vault-skip-verify'])).of('Vault'), {
    outcome: 'warn',
    detail: /not verified/,
  })
  const plain = [where[0] ?? '', `--vault-addr=${vault.bao.adminAddress}`]
  t.match((await diagnose(plain)).of('Vault'), { outcome: 'warn', detail: /plain http/ })
})

t.test(
  'with the API server: its token for ten minutes, bound to no pod, with the audience of the CSIDriver',
  async (t) => {
    const { api, objects, denied, run } = await startDoctorBench(t)
    objects.set('/apis/deckhouse.io/v1alpha1/namespaces/shop/secretsstoreimports', { items: [manifest()] })
    const token = vault.issuer.issue({ namespace: NAMESPACE, serviceAccount: 'backend', audience: 'vault' })
    const account = '/api/v1/namespaces/shop/serviceaccounts/backend'
    const expirationTimestamp = new Date(Date.now() + 600_000).toISOString()
    objects.set(account, { metadata: { name: 'backend' } })
    objects.set(`${account}/token`, { status: { token, expirationTimestamp } })
    const { ca, where } = directory(t)
    const flags = [where[1] ?? '', ca, REF, '--service-account=backend', '--dry-login']

    const { code, of, text } = await run(flags)
    t.equal(code, 0)
    t.match(of('audience'), { outcome: 'ok', detail: /^"vault", from the CSIDriver/ })
    t.match(of('file password'), { outcome: 'ok' })
    const request = api.seen.find(({ path }) => path === `${account}/token`)
    const { spec } = (request?.body ?? {}) as { spec?: object }
    t.strictSame(spec, { audiences: ['vault'], expirationSeconds: 600 })
    await leavesNothing(t, text, token)

    denied.add(`${account}/token`)
    const refused = await run(flags)
    t.match(refused.of('service-account token'), { outcome: 'skipped', detail: /give --token-file/ })
    t.match(refused.of('login'), { outcome: 'skipped' })
    objects.delete(account)
    t.match((await run(flags)).of('service account'), {
      outcome: 'fail',
      detail: 'shop/backend does not exist',
    })
  },
)

t.test('stopped in the middle it still revokes the Vault token', async (t) => {
  const front = await startVaultFront(vault.bao.adminAddress)
  t.teardown(() => front.close())
  const stop = new AbortController()
  front.answer = (path) => {
    if (path === 'sys/capabilities-self') stop.abort(new Error('stopped'))
    return undefined
  }
  const { where, login } = directory(t)
  const argv = [where[0] ?? '', `--vault-addr=${front.address}`, ...login]
  await t.rejects(diagnose(argv, {}, stop.signal), { message: 'stopped' })
  t.equal(front.tokens.size, 1, 'it had logged in')
  t.strictSame(await vault.loginTokens(), [])
})

t.test('a Vault token that cannot be revoked is reported by its accessor', async (t) => {
  const front = await startVaultFront(vault.bao.adminAddress)
  t.teardown(() => front.close())
  front.answer = (path) => (path === 'auth/token/revoke-self' ? { status: 403 } : undefined)
  const { where, login } = directory(t)
  const { of, code } = await diagnose([where[0] ?? '', `--vault-addr=${front.address}`, ...login])
  const [accessor = ''] = await vault.loginTokens()
  t.match(of('revocation'), { outcome: 'warn', fix: /auth\/token\/revoke-self/ })
  t.ok(accessor !== '' && of('revocation').detail.includes(accessor))
  t.equal(code, 0)
  await vault.admin.write('auth/token/revoke-accessor', { accessor })
})

t.test('a role that may not ask for its capabilities is judged by what it can read', async (t) => {
  const front = await startVaultFront(vault.bao.adminAddress)
  t.teardown(() => front.close())
  front.answer = (path) =>
    path === 'sys/capabilities-self' ? { status: 403, body: '{"errors":["permission denied"]}' } : undefined
  const { where, login } = directory(t)
  const { of, code } = await diagnose([where[0] ?? '', `--vault-addr=${front.address}`, ...login])
  t.match(of('policy secret/data/app'), {
    outcome: 'skipped',
    detail: /sys\/capabilities-self.*permission denied/,
  })
  t.match(of('file password'), { outcome: 'ok' })
  t.equal(code, 0)
})

const states: [status: number, body: object, outcome: string, detail: RegExp][] = [
  [
    429,
    { sealed: false, standby: true, version: '1.2.3' },
    'warn',
    /standby, which forwards.*version 1\.2\.3/,
  ],
  [473, { sealed: false, standby: true }, 'warn', /performance standby/],
  [472, { sealed: false }, 'fail', /disaster-recovery secondary/],
  [501, { initialized: false, sealed: true }, 'fail', /not initialised/],
  [429, { errors: ['request path "sys/health": rate limit quota exceeded'] }, 'fail', /fewer requests/],
  [200, { hello: 'world' }, 'fail', /is it a Vault\?/],
  [404, {}, 'fail', /is it a Vault\?/],
]
for (const [status, body, outcome, detail] of states) {
  t.test(`sys/health answers ${status} ${Object.keys(body)}: ${outcome}`, async (t) => {
    const front = await startVaultFront(vault.bao.adminAddress)
    t.teardown(() => front.close())
    front.answer = (path) => (path === 'sys/health' ? { status, body: JSON.stringify(body) } : undefined)
    const { where } = directory(t)
    const { of } = await diagnose([where[0] ?? '', `--vault-addr=${front.address}`])
    t.match(of('Vault'), { outcome, detail })
  })
}

t.test('a sealed Vault, and one that is not there', async (t) => {
  const { where, ca, login } = directory(t)
  await vault.bao.seal()
  const { of, code } = await diagnose([...where, ca, ...login])
  t.match(of('Vault'), { outcome: 'fail', detail: /is sealed/, fix: /unseal it/ })
  t.match(of('login'), { outcome: 'skipped', detail: 'Vault does not serve requests' })
  t.equal(code, 1)
  await vault.bao.stop()
  t.match((await diagnose([...where, ca])).of('Vault'), { outcome: 'fail', detail: /connection refused/ })
})
