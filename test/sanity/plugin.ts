import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createTokenIssuer, type TokenIssuer } from '../harness/pki/token-issuer.ts'
import { startPlugin } from '../harness/plugin/plugin.ts'
import { findOrFetchOpenBao, type OpenBao, startOpenBao } from '../harness/vault/openbao.ts'
import { createVaultAdmin } from '../harness/vault/vault-admin.ts'

export type TestedPlugin = {
  endpoint: string
  /** By audience, as kubelet writes them: fresh ones each time. */
  tokens(): Record<string, { token: string; expirationTimestamp: string }>
  /** @throws Error when the plugin does not end well */
  close(): Promise<void>
}

export const POD = { name: 'sanity-0', namespace: 'sanity', uid: 'b3f7c0de', serviceAccount: 'sanity' }
export const IMPORT_NAME = 'sanity'

const AUDIENCE = 'vault'
const TOKEN_SECONDS = 600
const SUBJECT = { namespace: POD.namespace, serviceAccount: POD.serviceAccount, audience: AUDIENCE }

/** The program that ships, with a real OpenBao behind it and one import to be had. */
export async function startTestedPlugin(directory: string): Promise<TestedPlugin> {
  const issuer = createTokenIssuer()
  const binary = await findOrFetchOpenBao({ onProgress: console.log })
  const bao = await startOpenBao({ binary, storage: 'inmem' })
  try {
    await fillOpenBao(bao, issuer)
    const endpoint = `unix://${join(directory, 'csi.sock')}`
    const plugin = await startPlugin({ endpoint, args: settings(directory, bao.address) })
    return {
      endpoint,
      tokens: () => tokensOf(issuer),
      close: async () => {
        const code = await plugin.stop().finally(() => bao.close())
        if (code !== 0) throw new Error(`the plugin ended with ${code} after SIGTERM:\n${plugin.output()}`)
      },
    }
  } catch (error) {
    await bao.close()
    throw error
  }
}

async function fillOpenBao(bao: OpenBao, issuer: TokenIssuer): Promise<void> {
  const admin = createVaultAdmin({ address: bao.adminAddress, token: bao.rootToken })
  await admin.enableKv2('secret')
  await admin.write('secret/data/sanity', { data: { password: 'not so secret' } })
  await admin.writeReadPolicy('sanity', ['secret/data/sanity'])
  await admin.setUpJwt({ mount: 'jwt', issuerKey: issuer })
  await admin.writeJwtRole('jwt', 'sanity', { ...SUBJECT, policies: ['sanity'] })
}

function settings(directory: string, vaultAddress: string): string[] {
  const imports = join(directory, 'imports')
  mkdirSync(imports)
  writeFileSync(join(imports, 'sanity.yaml'), MANIFEST)
  return [
    '--node-id=sanity-node',
    `--state-dir=${join(directory, 'state')}`,
    `--imports=dir:${imports}`,
    `--vault-addr=${vaultAddress}`,
    '--http-addr=off',
  ]
}

const MANIFEST = `apiVersion: deckhouse.io/v1alpha1
kind: SecretsStoreImport
metadata: { name: ${IMPORT_NAME}, namespace: ${POD.namespace} }
spec:
  type: CSI
  role: sanity
  authMethod: jwt
  authPath: jwt
  files:
  - name: password
    source: { path: secret/data/sanity, key: password }
`

function tokensOf(issuer: TokenIssuer) {
  const token = issuer.issue({ ...SUBJECT, pod: POD, ttl: TOKEN_SECONDS })
  const expirationTimestamp = new Date(Date.now() + TOKEN_SECONDS * 1000).toISOString()
  return { [AUDIENCE]: { token, expirationTimestamp } }
}
