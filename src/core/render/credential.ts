import { FaultError } from '../faults/fault.ts'
import type { CredentialFormat, CredentialSpec } from '../imports/import.ts'
import { credentialRequest } from '../imports/needs.ts'
import { jsonOf, type Value } from '../json/value.ts'
import { SecretBytes } from '../secret.ts'
import type { Answers } from './answers.ts'

/**
 * Content of one credential file. The JSON formats have exactly the keys of kubernetes-vault, in the same order, compact.
 * @throws FaultError credential_refused, or the fault of the issue request
 */
export function credentialFile(credential: CredentialSpec, answers: Answers): SecretBytes {
  return SecretBytes.fromText(writers[credential.format](credential, answers))
}

const writers = {
  Token: (credential, answers) => textOf(issuedValues(credential, answers), 'clientToken', credential),
  KubernetesVaultToken: (credential, answers) =>
    json(credential, answers, ['clientToken', 'accessor', 'leaseDuration', 'renewable', 'vaultAddr']),
  SecretID: (credential, answers) =>
    json(credential, answers, ['roleId', 'secretId', 'accessor', 'vaultAddr']),
  WrappedSecretID: (credential, answers) =>
    json(credential, answers, ['roleId', 'wrappedSecretId', 'vaultAddr', 'ttl']),
  CABundle: ({ name }, { authority }) => {
    if (authority !== undefined) return authority
    throw new FaultError('credential_refused', {
      file: name,
      reason: "no CA is set for Vault's address: the system's are used, and they are not ours to hand out",
      setting: 'set caCert or caCertRef in the import, or have the operator set --vault-ca-cert',
    })
  },
} satisfies Record<CredentialFormat, (credential: CredentialSpec, answers: Answers) => string>

type Values = ReadonlyMap<string, Value>

function issuedValues(credential: CredentialSpec, answers: Answers): Values {
  const answer = answers.of(credentialRequest(credential)?.key ?? '')
  if (answer instanceof FaultError) throw answer.with({ file: credential.name })
  return answer.values
}

function json(credential: CredentialSpec, answers: Answers, keys: readonly string[]): string {
  const values = new Map(issuedValues(credential, answers)).set('vaultAddr', answers.vaultAddr)
  const members = keys.map((key) => `"${key}":${jsonOf(values.get(key) ?? { json: 'null' })}`)
  return `{${members.join(',')}}`
}

function textOf(values: Values, key: string, { name }: CredentialSpec): string {
  const value = values.get(key)
  if (typeof value === 'string') return value
  throw new FaultError('credential_refused', { file: name, reason: 'Vault gave none' })
}
