import { readFileSync } from 'node:fs'
import { watchInotify } from '../../test/harness/volume/inotify.ts'
import { REFRESH_TIMEOUT_MS } from '../fixtures.ts'
import type { Output } from '../output.ts'

/** Changes the password twice; one inotify watch on `file` sees both changes. */
export async function rotateSecret(
  output: Output,
  file: string,
  setPassword: (password: string) => Promise<unknown>,
): Promise<void> {
  output.title('The secret rotates while the file is watched')
  const watch = watchInotify([file])
  output.step(
    'one inotify watch on db-password; the password changes in Vault, the plugin refreshes every 2 s',
  )
  for (const password of ['battery staple', 'tr0ub4dor&3']) {
    watch.clear()
    const startedAt = performance.now()
    await setPassword(password)
    const isNew = () => readFileSync(file, 'utf8') === password
    const event = await watch.waitFor(({ mask }) => mask.includes('MODIFY') && isNew(), REFRESH_TIMEOUT_MS)
    output.done(
      `IN_MODIFY ${Math.round(event.at - startedAt)} ms after the change in Vault; cat db-password: ${readFileSync(file, 'utf8')}`,
    )
  }
  watch.close()
}
