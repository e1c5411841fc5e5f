import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createLedgerStore } from '../../src/volume/ledger-store.ts'
import { createMounter } from '../../src/volume/mount.ts'
import { FakeLog } from '../fakes/log.ts'
import { freePort } from '../harness/free-port.ts'
import { startPlugin } from '../harness/plugin/plugin.ts'
import { until } from '../harness/until.ts'
import { mayMount } from '../harness/volume/tmpfs.ts'

const folder = mkdtempSync(join(tmpdir(), 'vault-files-two-'))
t.teardown(() => rmSync(folder, { recursive: true, force: true }))
const imports = join(folder, 'imports')
const stateDir = join(folder, 'state')
mkdirSync(imports)

async function start() {
  const httpPort = await freePort()
  const started = startPlugin({
    endpoint: `unix://${join(folder, 'csi.sock')}`,
    args: [
      '--node-id=n',
      `--imports=dir:${imports}`,
      `--state-dir=${stateDir}`,
      `--http-addr=127.0.0.1:${httpPort}`,
      '--log-format=json',
    ],
  })
  const readyz = async () => {
    try {
      const answer = await fetch(`http://127.0.0.1:${httpPort}/readyz`)
      return (await answer.text()).trim()
    } catch {
      return 'no answer'
    }
  }
  return { started, readyz }
}

t.test(
  'a second process touches nothing while the first lives, and goes on when it was killed',
  { skip: !mayMount() && 'needs mount rights', timeout: 90_000 },
  async (t) => {
    const first = await (await start()).started
    // As in the middle of a first publish of the first process.
    const mounter = createMounter()
    const targetPath = join(folder, 'volume')
    mounter.mount(targetPath, { sizeBytes: 64 << 10, gid: undefined })
    t.teardown(() => mounter.unmount(targetPath))
    const pod = { name: 'app-0', namespace: 'shop', uid: '1', serviceAccount: 'app' }
    const ledger = createLedgerStore({ stateDir, log: new FakeLog() })
    ledger.put({
      volumeId: 'csi-1',
      targetPath,
      readOnly: true,
      fsGroup: undefined,
      pod,
      importName: 'app',
      fingerprint: 'f',
      updateMode: 'Live',
      sizeBytes: 64 << 10,
      leaseStoreKey: undefined,
      phase: 'mounting',
    })

    const other = await start()
    await until('the second to wait', async () => (await other.readyz()) === 'waiting for another process', {
      timeoutMs: 20_000,
    })
    await sleep(1_000)
    t.equal(await other.readyz(), 'waiting for another process')
    t.ok(mounter.isMounted(targetPath), 'the volume under way is left alone')
    t.equal(ledger.load().length, 1)

    await first.kill()
    const second = await other.started
    t.teardown(() => second.kill())
    await until('the second to serve', async () => (await other.readyz()) === 'ok', { timeoutMs: 20_000 })
    t.match(second.output(), new RegExp(`"holder":"pid ${first.process.pid} on .*another process holds`))
    t.notOk(mounter.isMounted(targetPath), 'what the killed one left half done is removed now')
    t.strictSame(ledger.load(), [])
    t.equal(await second.stop(), 0)
  },
)
