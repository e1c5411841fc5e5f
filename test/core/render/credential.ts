import t from 'tap'
import { FaultError } from '../../../src/core/faults/fault.ts'
import type { CredentialFormat, CredentialSpec } from '../../../src/core/imports/import.ts'
import { credentialRequest } from '../../../src/core/imports/needs.ts'
import type { SecretData } from '../../../src/core/ports/vault.ts'
import { credentialFile } from '../../../src/core/render/credential.ts'
import { faultOf, secretOf } from '../../harness/specs.ts'

function spec(format: CredentialFormat): CredentialSpec {
  return { format, name: 'f', mode: undefined, role: 'web', authPath: 'approle' }
}

/** The file, if only its issue request has this answer. */
function fileOf(format: CredentialFormat, answer: SecretData | FaultError, authority?: string): string {
  const credential = spec(format)
  const of = (key: string) =>
    key === credentialRequest(credential)?.key ? answer : new FaultError('internal', { reason: key })
  const answers = { of, vaultAddr: 'https://vault.example.org:8200', authority }
  return credentialFile(credential, answers).reveal().toString()
}

t.test('a Token file contains only the token', async (t) => {
  t.equal(fileOf('Token', secretOf('{"clientToken":"s.canary","accessor":"a"}')), 's.canary')
})

t.test('JSON has exactly the keys of kubernetes-vault, compact and in its order', async (t) => {
  t.equal(
    fileOf(
      'KubernetesVaultToken',
      secretOf('{"renewable":true,"leaseDuration":600,"accessor":"a","clientToken":"s.x","more":"no"}'),
    ),
    '{"clientToken":"s.x","accessor":"a","leaseDuration":600,"renewable":true,"vaultAddr":"https://vault.example.org:8200"}',
  )
  t.equal(
    fileOf('SecretID', secretOf('{"accessor":"a","secretId":"i","roleId":"r"}')),
    '{"roleId":"r","secretId":"i","accessor":"a","vaultAddr":"https://vault.example.org:8200"}',
  )
  t.equal(
    fileOf('WrappedSecretID', secretOf('{"ttl":60,"wrappedSecretId":"w","roleId":"r"}')),
    '{"roleId":"r","wrappedSecretId":"w","vaultAddr":"https://vault.example.org:8200","ttl":60}',
  )
})

t.test('CABundle is the CA that verifies Vault; the system’s CAs are not exported', async (t) => {
  const nothing = new FaultError('internal')
  t.equal(fileOf('CABundle', nothing, 'PEM\n'), 'PEM\n')
  const error = faultOf(() => fileOf('CABundle', nothing))
  t.match(error, { fault: 'credential_refused', facts: { file: 'f' } })
  t.match(
    error.message,
    /next: set caCert or caCertRef in the import, or have the operator set --vault-ca-cert/,
  )
})

t.test('a failed issue request is reported with the file', async (t) => {
  const error = faultOf(() => fileOf('Token', new FaultError('read_denied', { path: 'auth/x', role: 'web' })))
  t.match(error, { fault: 'read_denied', facts: { file: 'f', path: 'auth/x' } })
  t.match(
    faultOf(() => fileOf('Token', secretOf('{}'))),
    { fault: 'credential_refused' },
  )
})
