import { existsSync, readFileSync } from 'node:fs'
import type { Output } from '../output.ts'

/** kubelet unpublishes the pod's volume at `target`; the plugin then removes it and revokes the Vault token. */
export async function unpublishVolume(
  output: Output,
  target: string,
  unpublish: () => Promise<unknown>,
): Promise<void> {
  output.title('The pod ends')
  await unpublish()
  if (existsSync(target) || readFileSync('/proc/self/mountinfo', 'utf8').includes(target)) {
    throw new Error(`something is left at ${target}`)
  }
  output.done('unpublished: nothing mounted, no directory left, the Vault token is revoked')
}
