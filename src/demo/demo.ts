// `npm run demo`: the main job on real parts, with no cluster. A real OpenBao, the real plugin as its own process,
// and this program in the place of kubelet. See --help for --keep.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { watchInotify } from './inotify.ts'
import { connectKubelet, type Kubelet } from './kubelet.ts'
import { listFiles } from './list-files.ts'
import { inOwnNamespace } from './namespace.ts'
import { findOrFetchOpenBao, type OpenBao, startOpenBao } from './openbao.ts'
import { type Plugin, startPlugin } from './plugin.ts'
import { createStage } from './stage.ts'
import { createTokenIssuer, type TokenIssuer } from './token-issuer.ts'
import { createVaultAdmin } from './vault-admin.ts'

const NAMESPACE = 'my-namespace1'
const SERVICE_ACCOUNT = 'backend-sa'
const ROLE = 'my-namespace1_backend'
const AUTH_MOUNT = 'main-kube'
const AUDIENCE = 'vault'
const SECRET_PATH = 'secret/data/database-for-python-app'
const VOLUME_ID = 'csi-demo'
const POD = { name: 'backend-demo', namespace: NAMESPACE, uid: 'demo-uid', serviceAccount: SERVICE_ACCOUNT }
const IMPORT = `apiVersion: deckhouse.io/v1alpha1
kind: SecretsStoreImport
metadata: { name: python-backend, namespace: ${NAMESPACE} }
spec:
  role: ${ROLE}
  refreshInterval: 2s          # 2m when left out; short here, so that you need not wait
  files:
  - name: db-password
    source: { path: ${SECRET_PATH}, key: password }
`
const LOOK_TIMEOUT_MS = 15_000
/** By so much a signal to the whole group may come to us later than to the others. */
const SIGNAL_LAG_MS = 200

const stage = createStage()
const cleanups: (() => Promise<unknown> | unknown)[] = []
let cleaning: Promise<void> | undefined

const keep = process.argv.includes('--keep')
if (process.argv.includes('--help')) {
  console.log(
    'npm run demo [-- --keep]\n  --keep  leave everything running at the end, to play with; Ctrl-C ends it',
  )
  process.exit(0)
}

try {
  // --keep as root stays in the machine's own mount namespace, so that another shell sees the files.
  const code = keep && process.getuid?.() === 0 ? undefined : await inOwnNamespace()
  if (code !== undefined) process.exit(code)
} catch (error) {
  stage.fail((error as Error).message)
  process.exit(1)
}

let phase: 'playing' | 'interrupted' = 'playing'
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // npm passes on what the terminal has sent already: the second one must not cut the cleaning short.
    if (phase === 'interrupted') return
    phase = 'interrupted'
    process.exitCode = 130
    stage.fail('interrupted, cleaning up')
    void cleanUp().then(() => process.exit(130))
  })
}
try {
  await run()
  await cleanUp()
} catch (error) {
  // Ctrl-C reaches Vault and the plugin too, perhaps before us: what fails for want of them is no news.
  await sleep(SIGNAL_LAG_MS)
  if (phase === 'playing') {
    stage.fail((error as Error).message)
    await cleanUp()
    process.exitCode = 1
  }
}

async function run(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vault-files-csi-demo-'))
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }))
  const issuer = createTokenIssuer()

  stage.title('A real Vault')
  const vault = await startVault(issuer)

  stage.title('The plugin')
  const plugin = await startThePlugin(folder, vault)
  const kubelet = connectKubelet(plugin.endpoint)
  cleanups.push(() => kubelet.close())

  const target = join(folder, 'pods/demo-uid/volumes/kubernetes.io~csi/secrets/mount')
  mkdirSync(join(target, '..'), { recursive: true })
  const unpublish = () => kubelet.nodeUnpublish({ volumeId: VOLUME_ID, targetPath: target })
  await publish(kubelet, issuer, target)
  cleanups.push(() => (existsSync(target) ? unpublish() : undefined))

  const admin = createVaultAdmin({ address: vault.adminAddress, token: vault.rootToken })
  const setPassword = (password: string) => admin.write(SECRET_PATH, { data: { password } })
  await changeUnderTheReader(join(target, 'db-password'), setPassword)
  await loseAndFindVault(join(target, 'db-password'), vault, plugin, setPassword)
  if (keep) await play(target, vault)

  stage.title('The pod goes')
  await unpublish()
  if (existsSync(target) || readFileSync('/proc/self/mountinfo', 'utf8').includes(target)) {
    throw new Error(`something is left at ${target}`)
  }
  stage.done('unpublished: nothing mounted, no directory left, the Vault token is revoked')
}

async function startVault(issuer: TokenIssuer): Promise<OpenBao> {
  const binary = await findOrFetchOpenBao({ onProgress: (text) => stage.step(text) })
  const vault = await startOpenBao({ binary, storage: 'file' })
  cleanups.push(() => vault.close())
  stage.done(`${binary.split('/').at(-1)} listens at ${vault.address}`)

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
  stage.done(`secret/database-for-python-app written; role ${ROLE} at auth/${AUTH_MOUNT} may read it`)
  return vault
}

async function startThePlugin(folder: string, vault: OpenBao): Promise<Plugin> {
  const imports = join(folder, 'imports')
  mkdirSync(imports)
  writeFileSync(join(imports, 'python-backend.yaml'), `${IMPORT}  authMethod: jwt\n`)
  stage.step('the import, as a team writes it:')
  stage.show(IMPORT)
  const plugin = await startPlugin({
    endpoint: `unix://${join(folder, 'csi.sock')}`,
    args: [
      '--node-id=demo-node',
      `--imports=dir:${imports}`,
      `--state-dir=${join(folder, 'state')}`,
      `--vault-addr=${vault.address}`,
      `--vault-auth-path=${AUTH_MOUNT}`,
      '--rotation-interval=2s',
      '--min-refresh-interval=1s',
      '--http-addr=off',
      '--log-format=json',
    ],
  })
  cleanups.push(() => plugin.stop())
  stage.done(`vault-files-csi is ready after ${Math.round(plugin.readyMs)} ms, pid ${plugin.process.pid}`)
  return plugin
}

async function publish(kubelet: Kubelet, issuer: TokenIssuer, target: string): Promise<void> {
  stage.title('A pod starts: kubelet asks for its volume')
  const token = issuer.issue({
    namespace: NAMESPACE,
    serviceAccount: SERVICE_ACCOUNT,
    audience: AUDIENCE,
    pod: { name: POD.name, uid: POD.uid },
  })
  const startedAt = performance.now()
  await kubelet.nodePublish({
    volumeId: VOLUME_ID,
    targetPath: target,
    pod: POD,
    importName: 'python-backend',
    readOnly: true,
    tokens: {
      [AUDIENCE]: { token, expirationTimestamp: new Date(Date.now() + 3_600_000).toISOString() },
    },
  })
  stage.done(
    `published in ${Math.round(performance.now() - startedAt)} ms: login as the pod, read, tmpfs, files`,
  )
  stage.step('ls -l')
  stage.show(listFiles(target))
  stage.step('cat db-password')
  stage.show(readFileSync(join(target, 'db-password'), 'utf8'))
}

async function changeUnderTheReader(
  file: string,
  setPassword: (password: string) => Promise<unknown>,
): Promise<void> {
  stage.title('The secret changes under its reader')
  const watch = watchInotify([file])
  stage.step(
    'inotify watch set once, on db-password; the password changes in Vault, the plugin looks every 2 s',
  )
  for (const password of ['battery staple', 'tr0ub4dor&3']) {
    watch.clear()
    const startedAt = performance.now()
    await setPassword(password)
    const isNew = () => readFileSync(file, 'utf8') === password
    const event = await watch.waitFor(({ mask }) => mask.includes('MODIFY') && isNew(), LOOK_TIMEOUT_MS)
    stage.done(
      `IN_MODIFY ${Math.round(event.at - startedAt)} ms after the change in Vault; cat db-password: ${readFileSync(file, 'utf8')}`,
    )
  }
  watch.close()
}

async function loseAndFindVault(
  file: string,
  vault: OpenBao,
  plugin: Plugin,
  setPassword: (password: string) => Promise<unknown>,
): Promise<void> {
  stage.title('Vault goes away, and comes back')
  const before = readFileSync(file, 'utf8')
  await vault.stop()
  stage.step('Vault is stopped; waiting for the plugin to notice')
  await until(() => lastFault(plugin) !== undefined, 'the plugin to notice')
  stage.show(lastFault(plugin) ?? '')
  if (readFileSync(file, 'utf8') !== before) throw new Error('the file did not stay as it was')
  stage.done(`the file stays as it was: ${before}`)

  await vault.start()
  await setPassword('purple monkey dishwasher')
  const startedAt = performance.now()
  stage.step('Vault is back, with a new password')
  await until(() => readFileSync(file, 'utf8') === 'purple monkey dishwasher', 'the new password')
  stage.done(
    `recovered ${Math.round(performance.now() - startedAt)} ms later; cat db-password: ${readFileSync(file, 'utf8')}`,
  )
}

/** What the plugin logged of its last failed look. */
function lastFault(plugin: Plugin): string | undefined {
  const lines = plugin.output().split('\n')
  const line = lines.findLast((text) => text.includes('look failed'))
  if (line === undefined) return undefined
  return (JSON.parse(line) as { error?: { message?: string } }).error?.message
}

async function until(isTrue: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + LOOK_TIMEOUT_MS
  while (!isTrue()) {
    if (performance.now() > deadline) throw new Error(`gave up waiting for ${what}`)
    await sleep(20)
  }
}

/** Waits for Ctrl-C. */
async function play(target: string, vault: OpenBao): Promise<never> {
  const enter = process.getuid?.() === 0 && process.env.VAULT_FILES_CSI_IN_NAMESPACE === undefined
  const nsenter = `nsenter --target ${process.pid} --user --mount --preserve-credentials`
  stage.title('Yours to play with; Ctrl-C ends it')
  stage.show(
    [
      ...(enter ? [] : ['# first, in another terminal, go where the files are:', nsenter]),
      `ls -l ${target}`,
      `cat ${target}/db-password`,
      '# change the secret, then look again:',
      `curl -H "X-Vault-Token: ${vault.rootToken}" -d '{"data":{"password":"mine"}}' ${vault.address}/v1/${SECRET_PATH}`,
      `# what is there: ${readdirSync(target).join(' ')}`,
    ].join('\n'),
  )
  return new Promise(() => setInterval(() => undefined, 60_000))
}

/** Once, whoever asks: an interruption must wait for what a failure has begun to clean up. */
function cleanUp(): Promise<void> {
  cleaning ??= runCleanups()
  return cleaning
}

/** In reverse order; one that fails does not keep the others back. */
async function runCleanups(): Promise<void> {
  for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) {
    try {
      await cleanup()
    } catch (error) {
      stage.fail(`cleaning up: ${(error as Error).message}`)
      process.exitCode = 1
    }
  }
}
