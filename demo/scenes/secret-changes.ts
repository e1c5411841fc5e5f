import { readFileSync } from 'node:fs'
import { watchInotify } from '../../test/harness/volume/inotify.ts'
import type { Stage } from '../stage.ts'
import { LOOK_TIMEOUT_MS } from '../wait.ts'

/** One watch on `file`, and a new password twice. */
export async function secretChanges(
  stage: Stage,
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
