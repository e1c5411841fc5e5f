import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { startTokenReview } from '../fakes/token-review.ts'
import { readLastStage } from '../harness/cluster/dockerfile.ts'
import { createCertificateAuthority } from '../harness/pki/certificates.ts'
import { createTokenIssuer, type TokenIssuer } from '../harness/pki/token-issuer.ts'
import { type Plugin, startPlugin } from '../harness/plugin/plugin.ts'
import { findOrFetchOpenBao, startOpenBao } from '../harness/vault/openbao.ts'
import { createVaultAdmin, type VaultAdmin } from '../harness/vault/vault-admin.ts'

export const NAMESPACE = 'shop'
export const SERVICE_ACCOUNT = 'backend'
export const AUDIENCE = 'vault'
export const ROLE = 'app'
export const SECRET_PATH = 'secret/data/app'
export const JWT_MOUNT = 'jwt'

/** As the image starts it. */
const image = readLastStage()
const NODE_FLAGS = image.entrypoint.filter((word) => word.startsWith('--'))
const PROGRAM = resolve(import.meta.dirname, '../../dist/main.js')

/** Imports of the bench by what they are for. `each`: a Vault identity per pod; `one`: one per service account. */
export type ImportName = 'each' | 'one' | 'one-sweep'

/** Everything around the plugin: a real Vault with two ways in, and a place on this machine. */
export type Scene = {
  address: string
  version: string
  admin: VaultAdmin
  issuer: TokenIssuer
  /** A fresh plugin process, as shipped. */
  startPlugin(): Promise<BenchedPlugin>
  /** A new directory of pods, such as kubelet has. */
  newFolder(name: string): string
  setSecret(password: string): Promise<void>
  close(): Promise<void>
}

export type BenchedPlugin = Plugin & { pid: number; metricsUrl: string }

/**
 * @param options.refreshSeconds the interval of import `one-sweep`
 * @param options.nodeFlags more flags for the plugin's Node, such as --cpu-prof
 */
export async function setScene(options: {
  refreshSeconds: number
  nodeFlags?: readonly string[]
}): Promise<Scene> {
  const { refreshSeconds, nodeFlags = [] } = options
  const folder = mkdtempSync(join(tmpdir(), 'vfc-bench-'))
  // A mount of its own: at the end all that was mounted below goes with it, also after a failure.
  mount('--bind', folder, folder)
  const bao = await startOpenBao({ binary: await findOrFetchOpenBao(), storage: 'inmem' })
  const review = await startTokenReview()
  const admin = createVaultAdmin({ address: bao.adminAddress, token: bao.rootToken })
  const issuer = createTokenIssuer()
  const setSecret = async (password: string) => {
    await admin.write(SECRET_PATH, { data: { password } })
  }
  await admin.enableKv2('secret')
  await setSecret('correct horse battery staple')
  await admin.writeReadPolicy(ROLE, [SECRET_PATH])
  await setUpLogins(admin, issuer, review.address)
  const imports = join(folder, 'imports')
  mkdirSync(imports)
  writeImport(imports, 'each', { authMethod: 'jwt', refreshSeconds: 7200 })
  writeImport(imports, 'one', { authMethod: 'kubernetes', refreshSeconds: 7200 })
  writeImport(imports, 'one-sweep', { authMethod: 'kubernetes', refreshSeconds })
  const { version } = (await admin.read('sys/seal-status')) as { version: string }

  let started = 0
  return {
    address: bao.address,
    version,
    admin,
    issuer,
    setSecret,
    async startPlugin() {
      const own = join(folder, `plugin-${started++}`)
      mkdirSync(join(own, 'state'), { recursive: true })
      // On a node it is under /run, which is memory; the mount goes with our namespace.
      mount('-t', 'tmpfs', 'tmpfs', join(own, 'state'))
      return launch({ own, imports, vaultAddr: bao.address, nodeFlags })
    },
    newFolder(name) {
      const path = join(folder, name)
      mkdirSync(path)
      return path
    },
    async close() {
      await review.close()
      await bao.close()
      spawnSync('umount', ['--recursive', '--lazy', folder])
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function setUpLogins(admin: VaultAdmin, issuer: TokenIssuer, reviewer: string): Promise<void> {
  await admin.setUpJwt({ mount: JWT_MOUNT, issuerKey: issuer })
  const role = {
    namespace: NAMESPACE,
    serviceAccount: SERVICE_ACCOUNT,
    audience: AUDIENCE,
    policies: [ROLE],
    ttl: 3600,
  }
  await admin.writeJwtRole(JWT_MOUNT, ROLE, role)
  await admin.write('sys/auth/kubernetes', { type: 'kubernetes' })
  await admin.write('auth/kubernetes/config', {
    kubernetes_host: reviewer,
    kubernetes_ca_cert: createCertificateAuthority().certificate,
    token_reviewer_jwt: issuer.issue({ namespace: 'vault', serviceAccount: 'vault', audience: 'api' }),
    disable_local_ca_jwt: true,
  })
  await admin.write(`auth/kubernetes/role/${ROLE}`, {
    bound_service_account_names: '*',
    bound_service_account_namespaces: NAMESPACE,
    audience: AUDIENCE,
    token_policies: ROLE,
    token_ttl: 3600,
  })
}

function writeImport(
  folder: string,
  name: ImportName,
  { authMethod, refreshSeconds }: { authMethod: 'jwt' | 'kubernetes'; refreshSeconds: number },
): void {
  const manifest = {
    apiVersion: 'deckhouse.io/v1alpha1',
    kind: 'SecretsStoreImport',
    metadata: { name, namespace: NAMESPACE },
    spec: {
      role: ROLE,
      authMethod,
      authPath: authMethod === 'jwt' ? JWT_MOUNT : 'kubernetes',
      refreshInterval: `${refreshSeconds}s`,
      files: [{ name: 'password', source: { path: SECRET_PATH, key: 'password' } }],
    },
  }
  writeFileSync(join(folder, `${name}.json`), JSON.stringify(manifest))
}

async function launch(options: {
  own: string
  imports: string
  vaultAddr: string
  nodeFlags: readonly string[]
}): Promise<BenchedPlugin> {
  const { own, imports, vaultAddr, nodeFlags } = options
  const port = await freePort()
  const plugin = await startPlugin({
    program: PROGRAM,
    execArgv: [...NODE_FLAGS, ...nodeFlags],
    env: image.env,
    endpoint: `unix://${join(own, 'csi.sock')}`,
    args: [
      '--node-id=bench',
      `--imports=dir:${imports}`,
      `--state-dir=${join(own, 'state')}`,
      `--vault-addr=${vaultAddr}`,
      '--min-refresh-interval=1s',
      // So high that neither is what limits.
      '--vault-qps=1000000',
      '--vault-concurrency=64',
      `--http-addr=127.0.0.1:${port}`,
      '--log-format=json',
    ],
  })
  return { ...plugin, pid: plugin.process.pid ?? 0, metricsUrl: `http://127.0.0.1:${port}/metrics` }
}

function mount(...args: string[]): void {
  const { status, stderr } = spawnSync('mount', args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`mount ${args.join(' ')}: ${stderr.trim()}`)
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo
      probe.close(() => resolve(port))
    })
  })
}
