// csi-sanity, the suite of the Kubernetes CSI community, against the plugin as it ships: `node test/sanity/run.ts`.
// Needs Go, which builds csi-sanity once, and leave to mount in a namespace of its own.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeLog } from '../fakes/log.ts'
import { publishRequest } from '../harness/kubelet/kubelet.ts'
import { realClock } from '../harness/real-clock.ts'
import { inOwnNamespace } from '../harness/runner/namespace.ts'
import { findCsiSanity, type Outcome, runCsiSanity } from './csi-sanity.ts'
import { startFront } from './front.ts'
import { IMPORT_NAME, POD, startTestedPlugin, type TestedPlugin } from './plugin.ts'

/** Fewer than these means that the front or the plugin hid something from the suite: 32 ran when this was written. */
const EXPECTED_CASES = 32

process.exitCode = (await inOwnNamespace()) ?? (await main())

async function main(): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'vfs-'))
  try {
    const binary = await findCsiSanity()
    const plugin = await startTestedPlugin(directory)
    const outcome = await runAgainst(plugin, binary, directory).finally(() => plugin.close())
    return judge(outcome)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function judge({ ran, failed, skipped }: Outcome): number {
  console.log(`csi-sanity: ${ran - failed} passed, ${failed} failed, ${skipped} skipped`)
  if (ran < EXPECTED_CASES) console.error(`only ${ran} cases ran, ${EXPECTED_CASES} were expected`)
  return failed === 0 && ran >= EXPECTED_CASES ? 0 : 1
}

async function runAgainst(plugin: TestedPlugin, binary: string, directory: string): Promise<Outcome> {
  const endpoint = `unix://${join(directory, 'front.sock')}`
  const front = await startFront({
    endpoint,
    pluginEndpoint: plugin.endpoint,
    volumeContext: () => volumeContext(plugin),
    log: new FakeLog(),
    clock: realClock,
  })
  return await runCsiSanity(binary, endpoint, directory).finally(() => front.close(1000))
}

/** What kubelet would pass for a pod that wants the import. */
function volumeContext(plugin: TestedPlugin): Record<string, string> {
  const args = { volumeId: '', targetPath: '', pod: POD, importName: IMPORT_NAME, tokens: plugin.tokens() }
  return publishRequest(args).volume_context
}
