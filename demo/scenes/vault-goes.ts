import { readFileSync } from 'node:fs'
import type { Plugin } from '../../test/harness/plugin/plugin.ts'
import type { OpenBao } from '../../test/harness/vault/openbao.ts'
import type { Stage } from '../stage.ts'
import { waitFor } from '../wait.ts'

/** Vault is stopped, `file` stays; Vault comes back with a new password, `file` follows. */
export async function vaultGoes(
  stage: Stage,
  { file, vault, plugin }: { file: string; vault: OpenBao; plugin: Plugin },
  setPassword: (password: string) => Promise<unknown>,
): Promise<void> {
  stage.title('Vault goes away, and comes back')
  const before = readFileSync(file, 'utf8')
  await vault.stop()
  stage.step('Vault is stopped; waiting for the plugin to notice')
  await waitFor(() => lastFault(plugin) !== undefined, 'the plugin to notice')
  stage.show(lastFault(plugin) ?? '')
  if (readFileSync(file, 'utf8') !== before) throw new Error('the file did not stay as it was')
  stage.done(`the file stays as it was: ${before}`)

  await vault.start()
  await setPassword('purple monkey dishwasher')
  const startedAt = performance.now()
  stage.step('Vault is back, with a new password')
  await waitFor(() => readFileSync(file, 'utf8') === 'purple monkey dishwasher', 'the new password')
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
