import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import type { IssueRequest } from '../../src/core/imports/calls.ts'
import { valueToNumber } from '../../src/core/json/value.ts'
import type { Lease } from '../../src/core/ports/leases.ts'
import { loginTokens } from '../harness/vault/login-tokens.ts'
import { setUpKv, startOpenBaoBench } from '../harness/vault/openbao-bench.ts'
import { createVaultAdmin } from '../harness/vault/vault-admin.ts'
import { patient, testIdentity, testToken } from '../harness/vault/vault-bench.ts'
import { setUpAppRole } from '../harness/vault/vault-engines.ts'

const PATH = 'kv1/app'
const { admin, bao, log, podToken, read, faultOf, vaultIssuer: issuer } = await startOpenBaoBench(t)
await setUpKv(admin)
await admin.write(PATH, { password: 'x' })
const appRole = await setUpAppRole(admin)

const identity = testIdentity(bao.address, {
  method: 'approle',
  authMount: 'approle',
  roleId: appRole.roleId,
  audience: '',
})
/** For each test another service account, for one that has logged in has a token. */
let logins = 0
const stranger = (more = {}) => ({ ...identity, ...more, key: `${identity.key}|${logins++}` })
const secretId = (text: string) => testToken(text, Number.POSITIVE_INFINITY)

t.test('an AppRole logs in with role ID and secret ID', async (t) => {
  const tokens = [secretId(await appRole.newSecretId())]
  t.equal((await read(PATH, { identity, tokens })).values.get('password'), 'x')
})

t.test('refused logins', async (t) => {
  const refused = async (t: Test, text: string, more = {}) => {
    const error = await faultOf(t, PATH, { identity: stranger(more), tokens: [secretId(text)] })
    t.match(error.message, `address ${bao.address}`)
    t.match(error.message, 'role "app"')
    return error
  }
  const isDenied = (t: Test, error: FaultError) => {
    t.equal(error.fault, 'login_denied')
    t.match(error.message, 'invalid role or secret ID', "Vault's words")
    t.match(error.message, 'role ID or secret ID is wrong, or the secret ID has ended or was used up')
    t.match(error.message, 'next: make a new secret ID (`bao write -f auth/approle/role/app/secret-id`)')
    t.match(error.message, 'spec.appRole.secretIdRef')
  }

  t.test('a wrong secret ID, a wrong role ID', async (t) => {
    isDenied(t, await refused(t, 'a-wrong-secret-id'))
    isDenied(t, await refused(t, await appRole.newSecretId(), { roleId: 'a-wrong-role-id' }))
  })

  t.test('a secret ID that was used up', async (t) => {
    await setUpAppRole(admin, { secret_id_num_uses: 1 })
    const text = await appRole.newSecretId()
    await setUpAppRole(admin, { secret_id_num_uses: 0 })
    await read(PATH, { identity: stranger(), tokens: [secretId(text)] })
    isDenied(t, await refused(t, text))
  })

  t.test('an empty secret ID, no role ID', async (t) => {
    const empty = await read(PATH, { identity: stranger(), tokens: [secretId('')] }).catch((error) => error)
    t.equal(empty.fault, 'login_denied')
    t.match(empty.message, 'next: check the Secret of spec.appRole.secretIdRef')
    const error = await refused(t, await appRole.newSecretId(), { roleId: '' })
    t.equal(error.fault, 'login_denied')
    t.match(error.message, 'next: check spec.appRole.roleId')
  })

  t.test('an address that the role does not allow', async (t) => {
    await setUpAppRole(admin, { secret_id_bound_cidrs: '10.255.255.255/32' })
    const error = await refused(t, await appRole.newSecretId())
    await setUpAppRole(admin, { secret_id_bound_cidrs: '' })
    t.equal(error.fault, 'login_denied')
    t.match(error.message, 'next: check secret_id_bound_cidrs')
  })

  t.test('mounts that are missing or of another type', async (t) => {
    const text = await appRole.newSecretId()
    t.equal((await refused(t, text, { authMount: 'nope' })).fault, 'login_mount')
    const other = await refused(t, text, { authMount: 'jwt' })
    t.equal(other.fault, 'login_mount')
    t.match(other.message, 'auth/jwt is not of type approle')
    const swapped = testIdentity(bao.address, { authMount: 'approle' })
    const error = await faultOf(t, PATH, { identity: swapped, tokens: [podToken()] })
    t.equal(error.fault, 'login_mount')
    t.match(error.message, 'auth/approle is of type approle')
  })
})

// The pod logs in by jwt, and is given secret IDs of the AppRole.
const pod = testIdentity(bao.address, { role: 'issuing' })
const ROLE = 'auth/approle/role/app'
const allow = (...paths: string[]) =>
  admin.write('sys/policies/acl/issuing', {
    policy: paths.map((path) => `path "${path}" { capabilities = ["read", "update"] }`).join('\n'),
  })
const DESTROY = `${ROLE}/secret-id-accessor/destroy`
await allow(`${ROLE}/role-id`, `${ROLE}/secret-id`, DESTROY, 'auth/approle/role/none/*')

await admin.writeJwtRole('jwt', 'issuing', {
  namespace: 'shop',
  serviceAccount: 'backend',
  audience: 'vault',
  policies: ['issuing'],
})

const orderOf = (isWrapped: boolean, role = 'app'): IssueRequest => ({
  kind: 'secret-id',
  key: 'credential: secret ID',
  renewAt: 66,
  revokeOnUnmount: true,
  role,
  authPath: 'approle',
  isWrapped,
})

async function hold(request: IssueRequest): Promise<Lease> {
  const token = await issuer.logIn(pod, [podToken()], patient)
  const issuedAt = Date.now()
  const { needsToken, ...issued } = await issuer.issue(pod, token, request, patient)
  const base = { id: `${issuedAt}`, request, identity: pod, issuedAt, state: 'active' as const }
  return { ...base, ...issued, token: needsToken ? token : undefined }
}

const text = (holding: Lease, key: string) => String(holding.data.values.get(key))
const canLogIn = (text: string) =>
  issuer.logIn(identity, [secretId(text)], patient).then(
    () => true,
    (error) => {
      if (error.fault === 'login_denied') return false
      throw error
    },
  )
const accessors = async () => {
  const { data } = (await admin.read(`${ROLE}/secret-id?list=true`)) as { data: { keys: string[] } }
  return data.keys
}

/** As the application does it, with nothing but the wrapping token. */
async function unwrap(token: string): Promise<{ secret_id: string; secret_id_accessor: string }> {
  const answer = await createVaultAdmin({ address: bao.address, token }).write('sys/wrapping/unwrap')
  return (answer as { data: { secret_id: string; secret_id_accessor: string } }).data
}

t.test('a secret ID logs in, and is destroyed with the token that made it', async (t) => {
  const held = await hold(orderOf(false))
  t.equal(text(held, 'roleId'), appRole.roleId)
  t.equal(held.expiresAt, undefined, 'it lasts until it is destroyed')
  t.ok((await accessors()).includes(text(held, 'accessor')))
  t.ok(await canLogIn(text(held, 'secretId')))
  await issuer.revoke(held, patient)
  t.notOk(await canLogIn(text(held, 'secretId')))
  t.notOk((await loginTokens(admin)).includes(held.token?.accessor ?? ''))
})

t.test('a secret ID that is destroyed already is not a failure', async (t) => {
  const held = await hold(orderOf(false))
  await admin.write(DESTROY, { secret_id_accessor: text(held, 'accessor') })
  await issuer.revoke(held, patient)
  t.notOk((await loginTokens(admin)).includes(held.token?.accessor ?? ''))
})

t.test('a secret ID with a life of its own is to be replaced before it ends', async (t) => {
  await setUpAppRole(admin, { secret_id_ttl: 2 })
  const held = await hold(orderOf(false))
  await setUpAppRole(admin, { secret_id_ttl: 0 })
  t.ok(Math.abs((held.expiresAt ?? 0) - held.issuedAt - 2_000) < 500)
  await sleep(1_400)
  t.equal(await issuer.renew(held, patient), undefined)
  await issuer.revoke(held, patient)
})

t.test('a wrapped secret ID can be unwrapped once', async (t) => {
  const held = await hold(orderOf(true))
  t.equal(valueToNumber(held.data.values.get('ttl')), 60)
  t.ok(Math.abs((held.expiresAt ?? 0) - held.issuedAt - 60_000) < 1_000)
  const unwrapped = await unwrap(text(held, 'wrappedSecretId'))
  t.ok(await canLogIn(unwrapped.secret_id))
  await t.rejects(unwrap(text(held, 'wrappedSecretId')), /400/)

  await issuer.revoke(held, patient)
  t.ok(await canLogIn(unwrapped.secret_id), 'what the application unwrapped is its own')
  t.notOk((await loginTokens(admin)).includes(held.token?.accessor ?? ''))
})

t.test('a secret ID that was never unwrapped is destroyed', async (t) => {
  const before = await accessors()
  const held = await hold(orderOf(true))
  t.equal((await accessors()).length, before.length + 1)
  await issuer.revoke(held, patient)
  t.same((await accessors()).sort(), before.sort())
  await t.rejects(unwrap(text(held, 'wrappedSecretId')), /400/)
  await issuer.revoke(held, patient)
  t.pass('what is gone already is success')
})

t.test('refused secret IDs', async (t) => {
  const fault = async (task: Promise<unknown>) => {
    const error = await task.then(
      () => t.fail('it must fail'),
      (error) => error,
    )
    if (!(error instanceof FaultError)) throw error
    return error
  }

  t.test('an AppRole that is not there', async (t) => {
    const error = await fault(hold(orderOf(false, 'none')))
    t.equal(error.fault, 'credential_refused')
    t.match(error.message, 'there is no AppRole "none" at auth/approle')
  })

  t.test('a policy that lacks the path', async (t) => {
    await allow(`${ROLE}/role-id`)
    const error = await fault(hold(orderOf(true)))
    t.equal(error.fault, 'read_denied')
    t.match(error.message, `path "${ROLE}/secret-id" { capabilities = ["update"] }`)
  })

  t.test(
    'a policy for making but not destroying it: only the token is revoked, and the log says why',
    async (t) => {
      await allow(`${ROLE}/role-id`, `${ROLE}/secret-id`)
      const held = await hold(orderOf(false))
      await issuer.revoke(held, patient)
      t.notOk((await loginTokens(admin)).includes(held.token?.accessor ?? ''))
      t.ok(await canLogIn(text(held, 'secretId')), 'it ends by its TTL')
      const { fields } = log.lines.find(({ message }) => message === 'secret ID not destroyed') ?? {}
      const { error } = (fields ?? {}) as { error?: FaultError }
      t.match(error?.message, `path "${DESTROY}" { capabilities = ["update"] }`)
    },
  )

  t.test('an auth mount that is not there', async (t) => {
    await allow('auth/nope/*')
    const error = await fault(hold({ ...orderOf(false), authPath: 'nope' } as IssueRequest))
    t.equal(error.fault, 'credential_refused')
    t.match(error.message, 'auth/nope')
  })
})
