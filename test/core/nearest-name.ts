import t from 'tap'
import { nearestName } from '../../src/core/nearest-name.ts'

const known = ['vault-addr', 'vault-auth-path', 'node-id', 'log-level']

t.test('finds the closest known name', async (t) => {
  t.equal(nearestName('vault-adr', known), 'vault-addr')
  t.equal(nearestName('vaultAddr', known), 'vault-addr')
  t.equal(nearestName('VAULT_AUTH_PATH', known), 'vault-auth-path')
  t.equal(nearestName('loglvl', known), 'log-level')
  t.equal(nearestName('roel', ['type', 'role']), 'role')
})

t.test('suggests nothing for a name that is close to none', async (t) => {
  t.equal(nearestName('frobnicate', known), undefined)
  t.equal(nearestName('x', known), undefined)
  t.equal(nearestName('x', []), undefined)
})
