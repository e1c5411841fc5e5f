import type { Cleanups } from '../../test/harness/cleanups.ts'
import type { TokenIssuer } from '../../test/harness/pki/token-issuer.ts'
import { findOrFetchOpenBao, type OpenBao, startOpenBao } from '../../test/harness/vault/openbao.ts'
import { createVaultAdmin } from '../../test/harness/vault/vault-admin.ts'
import { AUDIENCE, AUTH_MOUNT, NAMESPACE, ROLE, SECRET_PATH, SERVICE_ACCOUNT } from '../fixtures.ts'
import type { Output } from '../output.ts'

/** Starts a real OpenBao with one secret and a role that may read it. */
export async function startVault(output: Output, cleanups: Cleanups, issuer: TokenIssuer): Promise<OpenBao> {
  output.title('A real Vault')
  const binary = await findOrFetchOpenBao({ onProgress: (text) => output.step(text) })
  const vault = await startOpenBao({ binary, storage: 'file' })
  cleanups.add(() => vault.close())
  output.done(`${binary.split('/').at(-1)} listens at ${vault.address}`)

  const admin = createVaultAdmin({ address: vault.adminAddress, token: vault.rootToken })
  await admin.enableKv2('secret')
  await admin.write(SECRET_PATH, { data: { password: 'correct horse' } })
  await admin.setUpJwt({ mount: AUTH_MOUNT, issuerKey: issuer })
  await admin.writeReadPolicy(ROLE, [SECRET_PATH])
  await admin.writeJwtRole(AUTH_MOUNT, ROLE, {
    namespace: NAMESPACE,
    serviceAccount: SERVICE_ACCOUNT,
    audience: AUDIENCE,
    policies: [ROLE],
  })
  output.done(`secret/database-for-python-app written; role ${ROLE} at auth/${AUTH_MOUNT} may read it`)
  return vault
}
