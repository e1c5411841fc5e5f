// A process that runs out of descriptors in the middle of a volume's first files: `no-descriptors.ts FOLDER` prints as
// JSON what its cleanup left.
import { execFileSync } from 'node:child_process'
import { closeSync, openSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { toFault } from '../../../src/core/faults/fault.ts'
import type { LedgerEntry } from '../../../src/core/ports/volume.ts'
import { createClock } from '../../../src/ops/clock.ts'
import { createLedgerStore } from '../../../src/volume/ledger-store.ts'
import { createMounter } from '../../../src/volume/mount.ts'
import { createVolumeFiles } from '../../../src/volume/volume-files.ts'
import { FakeLog } from '../../fakes/log.ts'
import { rendered } from './volume.ts'

const folder = process.argv[2] ?? ''
const targetPath = join(folder, 'volume')
const sizeBytes = 1 << 20
const mounter = createMounter()
const files = createVolumeFiles({ clock: createClock(), graceMs: 1 })
const ledger = createLedgerStore({ stateDir: join(folder, 'state'), log: new FakeLog() })
const entry = { volumeId: 'csi-1', targetPath, phase: 'mounting' } as LedgerEntry

ledger.put(entry)
mounter.mount(targetPath, { sizeBytes, gid: undefined })
execFileSync('prlimit', ['--nofile=64:64', '--pid', String(process.pid)])
const held: number[] = []
let descriptors = ''
try {
  for (;;) held.push(openSync('/dev/null', 'r'))
} catch (error) {
  descriptors = (error as NodeJS.ErrnoException).code ?? ''
}

const set = rendered({ password: 'one', user: 'app' })
const apply = await files.apply(targetPath, { updateMode: 'InPlace', gid: undefined, sizeBytes }, set).then(
  () => 'done',
  (error: unknown) => toFault(error).fault,
)
// As src/node/publish.ts and src/node/unpublish.ts clean up.
const isMountedBefore = mounter.isMounted(targetPath)
files.wipe(targetPath)
mounter.unmount(targetPath)
ledger.remove(targetPath)
const isMountedAfter = mounter.isMounted(targetPath)
for (const fd of held) closeSync(fd)
const left = readdirSync(folder)
console.log(
  JSON.stringify({ descriptors, apply, isMountedBefore, isMountedAfter, left, ledger: ledger.load() }),
)
