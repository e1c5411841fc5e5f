import { createHash } from 'node:crypto'
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { LedgerEntry } from '../../src/core/ports/volume.ts'
import { createLedgerStore } from '../../src/volume/ledger-store.ts'
import { FakeLog } from '../fakes/log.ts'
import { faulty } from '../harness/faulty.ts'
import { temporaryDirectory } from '../harness/volume/volume.ts'

const entry: LedgerEntry = {
  volumeId: 'csi-1',
  targetPath: '/var/lib/kubelet/pods/1/volumes/csi/secrets/mount',
  readOnly: true,
  fsGroup: undefined,
  pod: { name: 'app-0', namespace: 'my-namespace1', uid: '1', serviceAccount: 'app' },
  importName: 'python-backend',
  fingerprint: 'f',
  updateMode: 'Live',
  sizeBytes: 4 << 20,
  leaseStoreKey: undefined,
  phase: 'mounting',
}
const other: LedgerEntry = {
  ...entry,
  volumeId: 'csi-2',
  targetPath: '/other',
  fsGroup: 2000,
  leaseStoreKey: 'k'.repeat(43),
  phase: 'complete',
}

function setUp(t: Test) {
  const stateDir = join(temporaryDirectory(t), 'state')
  const directory = join(stateDir, 'volumes')
  const log = new FakeLog()
  const open = () => createLedgerStore({ stateDir, log })
  return { stateDir, directory, log, open, store: open() }
}

function byId(entries: LedgerEntry[]): LedgerEntry[] {
  return entries.toSorted((a, b) => (a.volumeId < b.volumeId ? -1 : 1))
}

t.test('a missing ledger is empty, and loading creates nothing', async (t) => {
  const { stateDir, store, log } = setUp(t)
  t.strictSame(store.load(), [])
  t.throws(() => statSync(stateDir))
  t.strictSame(log.lines, [])
})

t.test('entries survive as they were put', async (t) => {
  const { open, store } = setUp(t)
  store.put(entry)
  store.put(other)
  t.strictSame(byId(open().load()), [entry, other])
  store.put({ ...entry, phase: 'complete' })
  t.strictSame(byId(open().load()), [{ ...entry, phase: 'complete' }, other])
  store.remove(entry.targetPath)
  store.remove('/never/there')
  t.strictSame(open().load(), [other])
})

t.test('an entry of a plugin that kept no keys is read', async (t) => {
  const { directory, open, store } = setUp(t)
  store.put(entry)
  const [name = ''] = readdirSync(directory)
  const { leaseStoreKey, ...old } = JSON.parse(readFileSync(join(directory, name), 'utf8'))
  t.equal(leaseStoreKey, null)
  writeFileSync(join(directory, name), JSON.stringify(old))
  t.strictSame(open().load(), [entry])
})

t.test('only root may read it', async (t) => {
  const { directory, store } = setUp(t)
  mkdirSync(directory, { recursive: true })
  chmodSync(directory, 0o755)
  store.put(entry)
  t.equal(statSync(directory).mode & 0o777, 0o700)
  for (const name of readdirSync(directory)) t.equal(statSync(join(directory, name)).mode & 0o777, 0o600)
})

t.test('a path of the greatest length has an entry', async (t) => {
  const { open, store } = setUp(t)
  const long = { ...entry, targetPath: `/${'d/'.repeat(1900)}mount` }
  store.put(long)
  t.strictSame(open().load(), [long])
})

t.test('unreadable entries are reported once and moved aside, and the others are read', async (t) => {
  const { directory, log, open, store } = setUp(t)
  store.put(entry)
  store.put(other)
  const [name = ''] = readdirSync(directory)
  const good = readFileSync(join(directory, name), 'utf8')
  writeFileSync(join(directory, 'a'.repeat(64).concat('.json')), good)
  const broken = {
    'truncated.json': '{"version":1,',
    'future.json': good.replace('"version":1', '"version":2'),
    'mode.json': good.replace('"Live"', '"Dead"'),
    'missing.json': '{"version":1}',
  }
  for (const [file, text] of Object.entries(broken)) writeFileSync(join(directory, file), text)
  t.strictSame(byId(store.load()), [entry, other])
  t.equal(log.lines.length, 5)
  t.match(log.lines[0], { level: 'warn', message: 'ledger entry is unreadable, skipping it' })
  t.match(log.text, /updateMode/)
  t.equal(readdirSync(directory).filter((file) => file.endsWith('.unreadable')).length, 5)
  t.strictSame(byId(open().load()), [entry, other])
  t.equal(log.lines.length, 5, 'the next start does not report them again')
})

t.test('a put killed half way leaves the entry before it', async (t) => {
  const { directory, log, open, store } = setUp(t)
  store.put(entry)
  const [name = ''] = readdirSync(directory)
  writeFileSync(join(directory, `${name}.tmp`), '{"version":1,"vol')
  t.strictSame(open().load(), [entry])
  t.strictSame(readdirSync(directory), [name])
  t.strictSame(log.lines, [])
})

t.test('an unusable state directory is a fault', async (t) => {
  const { stateDir, store } = setUp(t)
  writeFileSync(stateDir, 'a file')
  const words = /the ledger in .*\/volumes cannot be used \(ENOTDIR\)/
  t.throws(() => store.put(entry), faulty('internal', words))
  t.throws(() => store.load(), faulty('internal', words))
  renameSync(stateDir, `${stateDir}-away`)
  t.doesNotThrow(() => store.put(entry))
})

t.test('an invalid entry is neither read nor followed nor acted upon', async (t) => {
  const { directory, log, open, store } = setUp(t)
  store.put(other)
  const [name = ''] = readdirSync(directory)
  const good = readFileSync(join(directory, name), 'utf8')
  const hashed = (targetPath: string) => `${createHash('sha256').update(targetPath).digest('hex')}.json`
  for (const targetPath of ['/var/../etc', '/./x', '/', 'relative', `/${'x'.repeat(5_000)}`, '/a\\u0000b']) {
    writeFileSync(join(directory, hashed(targetPath)), good.replace('"/other"', `"${targetPath}"`))
  }
  writeFileSync(join(directory, 'huge.json'), '')
  truncateSync(join(directory, 'huge.json'), 1_900_000_000)
  symlinkSync('/etc/hostname', join(directory, 'link.json'))
  mkdirSync(join(directory, 'folder.json'))
  const before = process.memoryUsage.rss()
  t.strictSame(open().load(), [other])
  t.ok(process.memoryUsage.rss() - before < 64 << 20)
  t.equal(log.lines.length, 9)
  t.match(log.text, /must be an absolute path without/)
  t.match(log.text, /larger than 65536 bytes/)
})

t.test('a link in the place of its directory is not followed', async (t) => {
  const { stateDir, directory, store } = setUp(t)
  mkdirSync(stateDir)
  const elsewhere = temporaryDirectory(t)
  chmodSync(elsewhere, 0o755)
  symlinkSync(elsewhere, directory)
  t.throws(() => store.load(), faulty('internal', /ENOTDIR/))
  t.throws(() => store.put(entry), faulty('internal', /cannot be used/))
  t.equal(statSync(elsewhere).mode & 0o777, 0o755)
  t.strictSame(readdirSync(elsewhere), [])
})
