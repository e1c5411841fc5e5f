// csi-sanity, the suite of the Kubernetes CSI community, against the plugin as it ships: `node test/sanity/run.ts`.
// Needs root (it mounts) and Go (it builds csi-sanity once). Runs in a mount namespace of its own.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { publishRequest } from '../../src/demo/kubelet.ts'
import { FakeLog } from '../fakes/log.ts'
import { realClock } from '../support/real-clock.ts'
import { findCsiSanity, runCsiSanity } from './csi-sanity.ts'
import { startFront } from './front.ts'
import { IMPORT_NAME, type Plugin, POD, startPlugin } from './plugin.ts'

/** Fewer than these means that the front or the plugin hid something from the suite. */
const EXPECTED_CASES = 30

if (process.argv[2] === 'inside') await main()
else process.exit(enterMountNamespace())

/** So that a crash leaves nothing mounted on the machine. */
function enterMountNamespace(): number {
  const self = [process.execPath, fileURLToPath(import.meta.url), 'inside']
  const { status, error } = spawnSync('unshare', ['--mount', '--propagation=private', ...self], {
    stdio: 'inherit',
  })
  if (error) console.error(`unshare cannot be started: ${error.message}`)
  return status ?? 1
}

async function main(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'vfs-'))
  try {
    const binary = await findCsiSanity()
    const plugin = await startPlugin(directory)
    const { ran, failed, skipped } = await runAgainst(plugin, binary, directory).finally(() => plugin.close())
    console.log(`csi-sanity: ${ran - failed} passed, ${failed} failed, ${skipped} skipped`)
    if (failed > 0 || ran < EXPECTED_CASES) process.exitCode = 1
    if (ran < EXPECTED_CASES) console.error(`only ${ran} cases ran, ${EXPECTED_CASES} or more were expected`)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

async function runAgainst(plugin: Plugin, binary: string, directory: string) {
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
function volumeContext(plugin: Plugin): Record<string, string> {
  const args = { volumeId: '', targetPath: '', pod: POD, importName: IMPORT_NAME, tokens: plugin.tokens() }
  return publishRequest(args).volume_context
}
