import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { PodVolume } from '../harness/kubelet/pod-volume.ts'
import { createCertificateAuthority } from '../harness/pki/certificates.ts'
import { startRealNode } from '../harness/plugin/real-node.ts'
import { until } from '../harness/until.ts'
import { setUpAppRole } from '../harness/vault/vault-engines.ts'

const authority = createCertificateAuthority()
const PATH = 'secret/data/app'

t.test("credentials of the pod's own, on a real server", async (t) => {
  const node = await startRealNode(t, { args: ['--allow-token-export'] })
  const { admin, bao } = node.vault
  await node.vault.put('app', { password: 'one' })
  const appRole = await setUpAppRole(admin, { secret_id_ttl: 6, token_policies: 'app' })
  const handOut = ['role-id', 'secret-id', 'secret-id-accessor/destroy', 'secret-id/destroy'].map(
    (end) => `path "auth/approle/role/app/${end}" { capabilities = ["read", "update"] }`,
  )
  await admin.write('sys/policies/acl/hand-out', { policy: handOut.join('\n') })
  await node.vault.writeRole('hand-out', { token_policies: 'app,hand-out' })

  const withCredential = async (format: string, more: object = {}, spec: object = {}) => {
    const name = format.toLowerCase()
    const credentials = [{ format, name: 'credential', mode: 0o400, ...more }]
    await node.writeImport(name, { role: 'app', files: [], credentials, ...spec })
    return { importName: name }
  }
  const asJson = (volume: PodVolume) => JSON.parse(volume.read('credential')) as Record<string, never>

  await t.test('Token: the application asks Vault with it, and it lives as long as the pod', async (t) => {
    await node.vault.writeRole('short', { token_policies: 'app', token_ttl: 3 })
    const volume = await node.publish(await withCredential('Token', {}, { role: 'short' }))
    const token = volume.read('credential')
    t.notMatch(token, /\s/)
    t.equal(await readWith(bao.address, token), 200)
    await sleep(7_000)
    t.equal(volume.read('credential'), token, 'renewed, not replaced')
    t.equal(await readWith(bao.address, token), 200)
    await node.unpublish(volume)
    t.equal(await readWith(bao.address, token), 403, 'gone with the pod')
  })

  await t.test('before the maximum life of a token a new one is in the file', async (t) => {
    await node.vault.writeRole('ends', { token_policies: 'app', token_ttl: 3, token_max_ttl: 6 })
    const volume = await node.publish(await withCredential('Token', {}, { role: 'ends' }))
    const seen = new Set<string>()
    const refused: number[] = []
    await until(
      'three tokens',
      async () => {
        const token = volume.read('credential')
        seen.add(token)
        const status = await readWith(bao.address, token)
        if (status !== 200) refused.push(status)
        return seen.size >= 3
      },
      { timeoutMs: 30_000, everyMs: 50 },
    )
    t.same(refused, [])
    await node.unpublish(volume)
  })

  await t.test('KubernetesVaultToken: compact JSON of exactly these keys', async (t) => {
    const volume = await node.publish(await withCredential('KubernetesVaultToken'))
    const text = volume.read('credential')
    t.equal(text, JSON.stringify(JSON.parse(text)))
    const { clientToken, accessor, ...rest } = asJson(volume)
    t.same(rest, { leaseDuration: 600, renewable: true, vaultAddr: node.front.address })
    t.equal(await readWith(bao.address, clientToken ?? ''), 200)
    t.same(await node.vault.loginTokens(), [accessor])
    await node.unpublish(volume)
  })

  await t.test(
    'SecretID: logs in by AppRole, is replaced before it ends, and is destroyed with the pod',
    async (t) => {
      const role = { role: 'app', authPath: 'approle' }
      const volume = await node.publish(await withCredential('SecretID', role, { role: 'hand-out' }))
      const first = asJson(volume)
      t.same(Object.keys(first), ['roleId', 'secretId', 'accessor', 'vaultAddr'])
      t.equal(first.roleId, appRole.roleId)
      t.equal(await logIn(bao.address, first.roleId, first.secretId), 200)
      const second = await until('another secret ID', () => {
        const now = asJson(volume)
        return now.secretId !== first.secretId && now
      })
      t.equal(await logIn(bao.address, second.roleId, second.secretId), 200)
      await node.unpublish(volume)
      t.equal(await logIn(bao.address, second.roleId, second.secretId), 400)
    },
  )

  await t.test('WrappedSecretID: unwrapped once, for a minute', async (t) => {
    const role = { role: 'app' }
    const volume = await node.publish(await withCredential('WrappedSecretID', role, { role: 'hand-out' }))
    const wrapped = asJson(volume)
    t.same(Object.keys(wrapped), ['roleId', 'wrappedSecretId', 'vaultAddr', 'ttl'])
    t.equal(wrapped.ttl, 60)
    const secretId = await unwrap(bao.address, wrapped.wrappedSecretId ?? '')
    t.equal(await logIn(bao.address, wrapped.roleId, secretId), 200)
    t.equal(await unwrap(bao.address, wrapped.wrappedSecretId ?? ''), undefined)
    await node.unpublish(volume)
  })

  await t.test('CABundle: the PEM that verifies Vault; it is no credential and needs no flag', async (t) => {
    const other = await startRealNode(t)
    await other.vault.put('app', { password: 'one' })
    const credentials = [{ format: 'CABundle', name: 'ca.crt' }]
    await other.writeImport('ca', { role: 'app', files: [], credentials, caCert: authority.certificate })
    const volume = await other.publish({ importName: 'ca' })
    t.equal(volume.read('ca.crt').trim(), authority.certificate.trim())
    await other.unpublish(volume)
    await other.writeImport('none', { role: 'app', files: [], credentials })
    const { details } = await other.refusal({ importName: 'none' })
    t.match(details, /"ca.crt" cannot hold the credential: no CA is set.*next: set caCert/)
    await other.writeImport('token', {
      role: 'app',
      files: [{ name: 'password', source: { path: PATH, key: 'password' } }],
      credentials: [{ format: 'Token', name: 'token' }],
    })
    const refusal = await other.refusal({ importName: 'token' })
    t.equal(refusal.code, 'FAILED_PRECONDITION')
    t.match(refusal.details, /spec.credentials would write Vault credentials.*--allow-token-export/)
  })

  await t.test('the fault of a role that may not issue secret IDs names the missing policy', async (t) => {
    const { details } = await node.refusal(await withCredential('SecretID', { role: 'app' }))
    t.match(details, /auth\/approle\/role\/app\/(role-id|secret-id)" \{ capabilities/)
  })

  await t.test('nothing of it is in the log', async (t) => {
    t.notMatch(node.output(), /\b[sb]\.[A-Za-z0-9]{20,}|hv[sb]\./)
    t.same(await node.vault.loginTokens(), [])
  })
})

async function readWith(address: string, token: string): Promise<number> {
  const response = await fetch(`${address}/v1/${PATH}`, { headers: { 'X-Vault-Token': token } })
  return response.status
}

async function logIn(address: string, role_id = '', secret_id = ''): Promise<number> {
  const body = JSON.stringify({ role_id, secret_id })
  const response = await fetch(`${address}/v1/auth/approle/login`, { method: 'POST', body })
  if (response.ok) {
    const { auth } = (await response.json()) as { auth: { client_token: string } }
    const headers = { 'X-Vault-Token': auth.client_token }
    await fetch(`${address}/v1/auth/token/revoke-self`, { method: 'POST', headers })
  }
  return response.status
}

async function unwrap(address: string, token: string): Promise<string | undefined> {
  const headers = { 'X-Vault-Token': token }
  const response = await fetch(`${address}/v1/sys/wrapping/unwrap`, { method: 'POST', headers })
  if (!response.ok) return undefined
  const { data } = (await response.json()) as { data: { secret_id: string } }
  return data.secret_id
}
