import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Cleanups } from '../test/harness/cleanups.ts'
import { connectKubelet } from '../test/harness/kubelet/kubelet.ts'
import { createTokenIssuer } from '../test/harness/pki/token-issuer.ts'
import { createVaultAdmin } from '../test/harness/vault/vault-admin.ts'
import { SECRET_PATH, VOLUME_ID } from './cast.ts'
import { play } from './scenes/play.ts'
import { pluginStarts } from './scenes/plugin-starts.ts'
import { podStarts } from './scenes/pod-starts.ts'
import { secretChanges } from './scenes/secret-changes.ts'
import { vaultGoes } from './scenes/vault-goes.ts'
import { vaultStarts } from './scenes/vault-starts.ts'
import type { Stage } from './stage.ts'

/**
 * The demo, scene by scene.
 * @param keep leave everything running at the end; ends then by interruption alone
 */
export async function perform(stage: Stage, cleanups: Cleanups, keep: boolean): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vault-files-csi-demo-'))
  cleanups.add(() => rmSync(folder, { recursive: true, force: true }))
  const issuer = createTokenIssuer()
  const vault = await vaultStarts(stage, cleanups, issuer)
  const plugin = await pluginStarts(stage, cleanups, { folder, vault })
  const kubelet = connectKubelet(plugin.endpoint)
  cleanups.add(() => kubelet.close())

  const target = join(folder, 'pods/demo-uid/volumes/kubernetes.io~csi/secrets/mount')
  mkdirSync(join(target, '..'), { recursive: true })
  const unpublish = () => kubelet.nodeUnpublish({ volumeId: VOLUME_ID, targetPath: target })
  await podStarts(stage, { kubelet, issuer, target })
  cleanups.add(() => (existsSync(target) ? unpublish() : undefined))

  const admin = createVaultAdmin({ address: vault.adminAddress, token: vault.rootToken })
  const setPassword = (password: string) => admin.write(SECRET_PATH, { data: { password } })
  const file = join(target, 'db-password')
  await secretChanges(stage, file, setPassword)
  await vaultGoes(stage, { file, vault, plugin }, setPassword)
  if (keep) await play(stage, target, vault)

  stage.title('The pod goes')
  await unpublish()
  if (existsSync(target) || readFileSync('/proc/self/mountinfo', 'utf8').includes(target)) {
    throw new Error(`something is left at ${target}`)
  }
  stage.done('unpublished: nothing mounted, no directory left, the Vault token is revoked')
}
