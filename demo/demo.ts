// `npm run demo`: the main job on real parts, with no cluster. A real OpenBao, the real plugin as its own process,
// and this program in the place of kubelet. See --help for --keep.
import { setTimeout as sleep } from 'node:timers/promises'
import { createCleanups } from '../test/harness/cleanups.ts'
import { inOwnNamespace } from '../test/harness/runner/namespace.ts'
import { perform } from './perform.ts'
import { createStage } from './stage.ts'

/** By so much a signal to the whole group may come to us later than to the others. */
const SIGNAL_LAG_MS = 200

const stage = createStage()
const cleanups = createCleanups((error) => {
  stage.fail(`cleaning up: ${error.message}`)
  process.exitCode = 1
})

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
    void cleanups.run().then(() => process.exit(130))
  })
}
try {
  await perform(stage, cleanups, keep)
  await cleanups.run()
} catch (error) {
  // Ctrl-C reaches Vault and the plugin too, perhaps before us: what fails for want of them is no news.
  await sleep(SIGNAL_LAG_MS)
  if (phase === 'playing') {
    stage.fail((error as Error).message)
    await cleanups.run()
    process.exitCode = 1
  }
}
