// `npm run demo`: the plugin's main task with real parts and without a cluster. It starts a real OpenBao and the real
// plugin, and takes kubelet's part itself. See --help for --keep.
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createCleanups } from '../test/harness/cleanups.ts'
import { connectKubelet } from '../test/harness/kubelet/kubelet.ts'
import { createTokenIssuer } from '../test/harness/pki/token-issuer.ts'
import { inOwnNamespace } from '../test/harness/runner/namespace.ts'
import { createVaultAdmin } from '../test/harness/vault/vault-admin.ts'
import { SECRET_PATH, VOLUME_ID } from './fixtures.ts'
import { createOutput } from './output.ts'
import { keepRunning } from './scenes/keep-running.ts'
import { publishVolume } from './scenes/publish-volume.ts'
import { rotateSecret } from './scenes/rotate-secret.ts'
import { showVaultOutage } from './scenes/show-vault-outage.ts'
import { startPluginWithImport } from './scenes/start-plugin-with-import.ts'
import { startVault } from './scenes/start-vault.ts'
import { unpublishVolume } from './scenes/unpublish-volume.ts'

/** A signal to the process group may reach this process later than the others, by at most this. */
const SIGNAL_LAG_MS = 200

const output = createOutput()
const cleanups = createCleanups((error) => {
  output.fail(`cleaning up: ${error.message}`)
  process.exitCode = 1
})

const keep = process.argv.includes('--keep')
if (process.argv.includes('--help')) {
  console.log(
    'npm run demo [-- --keep]\n  --keep  leave everything running at the end, to try things out; Ctrl-C stops it',
  )
  process.exit(0)
}

try {
  // --keep as root stays in the machine's own mount namespace, so that other shells see the files.
  const code = keep && process.getuid?.() === 0 ? undefined : await inOwnNamespace()
  if (code !== undefined) process.exit(code)
} catch (error) {
  output.fail((error as Error).message)
  process.exit(1)
}

let phase: 'running' | 'interrupted' = 'running'
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // npm forwards the signal that the terminal has already sent: the second one must not interrupt the cleanup.
    if (phase === 'interrupted') return
    phase = 'interrupted'
    process.exitCode = 130
    output.fail('interrupted, cleaning up')
    void cleanups.run().then(() => process.exit(130))
  })
}
try {
  await runScenes()
  await cleanups.run()
} catch (error) {
  // Ctrl-C also stops Vault and the plugin, perhaps first: errors that follow from that are not reported.
  await sleep(SIGNAL_LAG_MS)
  if (phase === 'running') {
    output.fail((error as Error).message)
    await cleanups.run()
    process.exitCode = 1
  }
}

/** With --keep it never returns. */
async function runScenes(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vault-files-csi-demo-'))
  cleanups.add(() => rmSync(folder, { recursive: true, force: true }))
  const issuer = createTokenIssuer()
  const vault = await startVault(output, cleanups, issuer)
  const plugin = await startPluginWithImport(output, cleanups, { folder, vault })
  const kubelet = connectKubelet(plugin.endpoint)
  cleanups.add(() => kubelet.close())

  const target = join(folder, 'pods/demo-uid/volumes/kubernetes.io~csi/secrets/mount')
  mkdirSync(join(target, '..'), { recursive: true })
  const unpublish = () => kubelet.nodeUnpublish({ volumeId: VOLUME_ID, targetPath: target })
  await publishVolume(output, { kubelet, issuer, target })
  cleanups.add(() => (existsSync(target) ? unpublish() : undefined))

  const admin = createVaultAdmin({ address: vault.adminAddress, token: vault.rootToken })
  const setPassword = (password: string) => admin.write(SECRET_PATH, { data: { password } })
  const file = join(target, 'db-password')
  await rotateSecret(output, file, setPassword)
  await showVaultOutage(output, { file, vault, plugin }, setPassword)
  if (keep) await keepRunning(output, target, vault)
  await unpublishVolume(output, target, unpublish)
}
