import t from 'tap'
import { nearest } from '../../src/core/nearest-name.ts'

const known = ['vault-addr', 'vault-auth-path', 'node-id', 'log-level']

t.test('the name most likely meant is found', async (t) => {
  t.equal(nearest('vault-adr', known), 'vault-addr')
  t.equal(nearest('vaultAddr', known), 'vault-addr')
  t.equal(nearest('VAULT_AUTH_PATH', known), 'vault-auth-path')
  t.equal(nearest('loglvl', known), 'log-level')
  t.equal(nearest('roel', ['type', 'role']), 'role')
})

t.test('nothing is guessed for a name that is far from all', async (t) => {
  t.equal(nearest('frobnicate', known), undefined)
  t.equal(nearest('x', known), undefined)
  t.equal(nearest('x', []), undefined)
})
