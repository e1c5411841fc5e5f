import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startRealNode } from '../harness/plugin/real-node.ts'
import { setUpPki } from '../harness/vault/vault-engines.ts'

/** Longer than what was replaced stays good, after which it was revoked, and issued, again. */
const WATCHED_MS = 40_000

t.test('a role whose tokens may not revoke themselves costs one issue a certificate', async (t) => {
  const node = await startRealNode(t)
  const { admin } = node.vault
  await setUpPki(admin)
  await admin.write('sys/policies/acl/web', { policy: 'path "pki/issue/web" { capabilities = ["update"] }' })
  await node.vault.writeRole('web', { token_policies: 'web', token_no_default_policy: true })
  const names = ['one', 'two', 'three']
  await node.writeImport('web', {
    role: 'web',
    sources: names.map((name) => ({
      ...{ name, path: 'pki/issue/web', method: 'PUT' },
      data: { common_name: `${name}.example.org`, ttl: '1h' },
    })),
    files: names.map((name) => ({ name: `${name}.crt`, source: { ref: name, key: 'certificate' } })),
  })
  const volume = await node.publish({ importName: 'web' })
  const before = volume.read('one.crt')
  await sleep(WATCHED_MS)
  const count = (path: string) => node.front.requests.filter((request) => request.path === path).length
  t.equal(count('pki/issue/web'), 3)
  t.equal(count('auth/kubernetes/login'), 3)
  t.equal(count('auth/token/revoke-self'), 3, 'Vault has said that it will not')
  t.equal(volume.read('one.crt'), before)
  const told = node.log().filter(({ msg }) => msg.includes('tokens of this role'))
  t.equal(told.length, 1)
  t.match(JSON.stringify(told), 'auth/token/revoke-self')
})
