import { readFileSync } from 'node:fs'
import type { Plugin } from '../../test/harness/plugin/plugin.ts'
import { until } from '../../test/harness/until.ts'
import type { OpenBao } from '../../test/harness/vault/openbao.ts'
import { REFRESH_TIMEOUT_MS } from '../fixtures.ts'
import type { Output } from '../output.ts'

const TIMEOUT = { timeoutMs: REFRESH_TIMEOUT_MS }

/** Stops Vault: `file` stays. Starts it with a new password: `file` follows. */
export async function showVaultOutage(
  output: Output,
  { file, vault, plugin }: { file: string; vault: OpenBao; plugin: Plugin },
  setPassword: (password: string) => Promise<unknown>,
): Promise<void> {
  output.title('Vault stops and comes back')
  const before = readFileSync(file, 'utf8')
  await vault.stop()
  output.step('Vault is stopped; waiting for the plugin to notice')
  output.show(await until('the plugin to notice', () => unreachableFault(plugin), TIMEOUT))
  if (readFileSync(file, 'utf8') !== before) throw new Error('the file did not stay as it was')
  output.done(`the file stays as it was: ${before}`)

  await vault.start()
  await setPassword('purple monkey dishwasher')
  const startedAt = performance.now()
  output.step('Vault is back, with a new password')
  await until('the new password', () => readFileSync(file, 'utf8') === 'purple monkey dishwasher', TIMEOUT)
  output.done(
    `recovered ${Math.round(performance.now() - startedAt)} ms later; cat db-password: ${readFileSync(file, 'utf8')}`,
  )
}

/** The message of the last failed refresh in the plugin's log. */
function unreachableFault(plugin: Plugin): string | undefined {
  // The last line may be incomplete.
  const lines = plugin.output().split('\n').slice(0, -1)
  const line = lines.findLast((text) => text.includes('"fault":"unreachable"'))
  if (line === undefined) return undefined
  return (JSON.parse(line) as { error?: { message?: string } }).error?.message
}
