import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { connectKubelet } from '../../src/demo/kubelet.ts'
import { findOrFetchOpenBao, startOpenBao } from '../../src/demo/openbao.ts'
import { createTokenIssuer } from '../../src/demo/token-issuer.ts'
import { createVaultAdmin } from '../../src/demo/vault-admin.ts'

export type Plugin = {
  endpoint: string
  /** By audience, as kubelet writes them: fresh ones each time. */
  tokens(): Record<string, { token: string; expirationTimestamp: string }>
  close(): Promise<void>
}

export const POD = { name: 'sanity-0', namespace: 'sanity', uid: 'b3f7c0de', serviceAccount: 'sanity' }
export const IMPORT_NAME = 'sanity'

const AUDIENCE = 'vault'
const TOKEN_SECONDS = 600
const START_TIMEOUT_MS = 20_000
const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/** The program that ships, with a real OpenBao behind it and one import to be had. */
export async function startPlugin(directory: string): Promise<Plugin> {
  const issuer = createTokenIssuer()
  const bao = await startOpenBao({
    binary: await findOrFetchOpenBao({ onProgress: console.log }),
    storage: 'inmem',
  })
  const admin = createVaultAdmin({ address: bao.adminAddress, token: bao.rootToken })
  await admin.enableKv2('secret')
  await admin.write('secret/data/sanity', { data: { password: 'not so secret' } })
  await admin.writeReadPolicy('sanity', ['secret/data/sanity'])
  await admin.setUpJwt({ mount: 'jwt', issuerKey: issuer })
  const { namespace, serviceAccount } = POD
  await admin.writeJwtRole('jwt', 'sanity', {
    namespace,
    serviceAccount,
    audience: AUDIENCE,
    policies: ['sanity'],
  })

  const endpoint = `unix://${join(directory, 'csi.sock')}`
  const child = spawn(process.execPath, [MAIN, ...flags(endpoint, directory, bao.address)], {
    stdio: 'inherit',
  })
  const killAtExit = () => child.kill('SIGKILL')
  process.once('exit', killAtExit)
  await untilReady(endpoint, child)

  return {
    endpoint,
    tokens: () => {
      const token = issuer.issue({
        namespace,
        serviceAccount,
        audience: AUDIENCE,
        pod: POD,
        ttl: TOKEN_SECONDS,
      })
      const expirationTimestamp = new Date(Date.now() + TOKEN_SECONDS * 1000).toISOString()
      return { [AUDIENCE]: { token, expirationTimestamp } }
    },
    close: async () => {
      process.removeListener('exit', killAtExit)
      const code = await stop(child)
      await bao.close()
      if (code !== 0) throw new Error(`the plugin ended with ${code} after SIGTERM`)
    },
  }
}

function flags(endpoint: string, directory: string, vaultAddress: string): string[] {
  const imports = join(directory, 'imports')
  mkdirSync(imports)
  writeFileSync(
    join(imports, 'sanity.yaml'),
    `apiVersion: deckhouse.io/v1alpha1
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
`,
  )
  return [
    `--endpoint=${endpoint}`,
    '--node-id=sanity-node',
    `--state-dir=${join(directory, 'state')}`,
    `--imports=dir:${imports}`,
    `--vault-addr=${vaultAddress}`,
    '--http-addr=off',
    '--log-level=warn',
  ]
}

async function untilReady(endpoint: string, child: ChildProcess): Promise<void> {
  const kubelet = connectKubelet(endpoint)
  const until = Date.now() + START_TIMEOUT_MS
  while (Date.now() < until && child.exitCode === null) {
    if (await kubelet.probe().catch(() => false)) return
    await sleep(100)
  }
  child.kill('SIGKILL')
  throw new Error(
    child.exitCode === null ? 'the plugin did not get ready' : `the plugin ended with ${child.exitCode}`,
  )
}

async function stop(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null) return child.exitCode
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  const [code] = await ended
  return code
}
