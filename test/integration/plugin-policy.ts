import t from 'tap'
import { startRealNode } from '../harness/plugin/real-node.ts'
import { setUpAppRole } from '../harness/vault/vault-engines.ts'

t.test('no path of an import brings a Vault token into a file', async (t) => {
  const node = await startRealNode(t)
  const { admin } = node.vault
  await node.vault.put('app', { password: 'one' })
  await setUpAppRole(admin, { secret_id_ttl: 60, token_policies: 'app' })
  const wide = ['path "auth/*" { capabilities = ["read", "create", "update"] }']
  wide.push('path "sys/wrapping/*" { capabilities = ["read", "update"] }')
  wide.push('path "cubbyhole/*" { capabilities = ["read", "create", "update"] }')
  await admin.write('sys/policies/acl/wide', { policy: wide.join('\n') })
  await node.vault.writeRole('wide', { token_policies: 'app,wide,default' })
  let count = 0
  const refusal = async (spec: object) => {
    const name = `policy-${count++}`
    await node.writeImport(name, { role: 'wide', ...spec })
    return node.refusal({ importName: name })
  }
  const reading = (path: string, key = 'id') => ({ files: [{ name: 'stolen', source: { path, key } }] })
  const calling = (path: string, method: string, data: object = {}) => ({
    sources: [{ name: 'own', path, method, data }],
    files: [{ name: 'stolen', source: { ref: 'own' }, template: '{{ own | json }}' }],
  })

  await t.test('this token can do what is asked: Vault itself would not refuse', async (t) => {
    const { auth } = (await admin.write('auth/token/create', { policies: ['wide'] })) as Reply
    const asked = (method: string, path: string) =>
      ask(node.vault.bao.address, auth?.client_token, method, path)
    t.equal((await asked('GET', 'auth/token/lookup-self')).data?.id, auth?.client_token)
    t.type((await asked('POST', 'auth/approle/role/app/secret-id')).data?.secret_id, 'string')
  })

  const attempts: [string, object][] = [
    ['its own lookup', reading('auth/token/lookup-self')],
    ['its own lookup, with slashes', reading('//auth///token/lookup-self/')],
    ['its own lookup as every key', { files: [], dataFrom: [{ path: 'auth/token/lookup-self' }] }],
    ['its own lookup, below a namespace', reading('office/auth/token/lookup-self')],
    ['its own lookup, the path cut by a namespace', { namespace: 'auth/token', ...reading('lookup-self') }],
    ['a new token', calling('auth/token/create', 'POST')],
    ['a secret ID', calling('auth/approle/role/app/secret-id', 'PUT')],
    ['what is wrapped', calling('sys/wrapping/wrap', 'POST', { a: 'b' })],
  ]
  for (const [what, spec] of attempts) {
    await t.test(`${what}: refused before Vault is asked`, async (t) => {
      const before = node.front.requests.length
      const { code, details } = await refusal(spec)
      t.equal(code, 'FAILED_PRECONDITION')
      t.match(details, /this node's settings refuse the import.*--allow-token-export/)
      t.equal(node.front.requests.length, before, 'not even a login')
    })
  }

  await t.test('spellings that are no such path for the policy are none for Vault', async (t) => {
    for (const path of ['AUTH/token/lookup-self', 'Auth/Token/Lookup-Self']) {
      const { code } = await refusal(reading(path))
      t.match(code, /PERMISSION_DENIED|NOT_FOUND/, path)
    }
  })

  await t.test('nothing of it is in the log', async (t) => {
    t.notMatch(node.output(), /\b[sb]\.[A-Za-z0-9]{20,}|hv[sb]\./)
  })
})

t.test('with --allow-token-export the shared token still reaches no file', async (t) => {
  const node = await startRealNode(t, { args: ['--allow-token-export'] })
  await node.vault.put('app', { password: 'one' })
  await node.vault.writeRole('default', { token_policies: 'app,default' })
  const files = [{ name: 'stolen', source: { path: 'auth/token/lookup-self', key: 'id' } }]
  await node.writeImport('own', { role: 'default', files })
  const { code, details } = await node.refusal({ importName: 'own' })
  t.equal(code, 'FAILED_PRECONDITION')
  t.match(details, /would write the Vault token that reads it into files.*format Token/)
})

type Reply = { data?: Record<string, unknown>; auth?: { client_token: string } }

async function ask(address: string, token: string | undefined, method: string, path: string): Promise<Reply> {
  const response = await fetch(`${address}/v1/${path}`, { method, headers: { 'X-Vault-Token': token ?? '' } })
  return (await response.json()) as Reply
}
