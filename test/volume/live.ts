import {
  chmodSync,
  readdirSync,
  readlinkSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import type { Clock } from '../../src/core/ports/clock.ts'
import { createVolumeFiles } from '../../src/volume/volume-files.ts'
import { FakeClock } from '../fakes/clock.ts'
import { faulty } from '../harness/faulty.ts'
import {
  describeDirectory,
  groupExists,
  inode,
  isRoot,
  mtimeNs,
  owner,
  readActive,
  readByPath,
  rendered,
  temporaryDirectory,
} from '../harness/volume/volume.ts'

const shape = { updateMode: 'Live', gid: undefined, sizeBytes: 1 << 20 } as const

function setUp(t: Test) {
  const root = temporaryDirectory(t)
  const clock = new FakeClock()
  // The grace passes at once, unless a test looks at the volume meanwhile.
  const grace = { during: () => {}, waitedMs: [] as number[] }
  const quick: Clock = {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    after: (delayMs, task) => clock.after(delayMs, task),
    sleep: async (delayMs) => {
      grace.waitedMs.push(delayMs)
      grace.during()
    },
  }
  const volume = createVolumeFiles({ clock: quick, graceMs: 50, owner })
  const apply = (files: Parameters<typeof rendered>[0], mode?: number) =>
    volume.apply(root, shape, rendered(files, mode))
  return { root, clock, grace, volume, apply }
}

t.test('the first apply makes links to a complete set in two equal slots', async (t) => {
  const { root, apply } = setUp(t)
  const change = await apply({ password: 'one', user: 'app' })
  t.strictSame(change, { changed: [], added: ['password', 'user'], removed: [] })
  t.strictSame(readdirSync(root).sort(), ['..data', '..slot-a', '..slot-b', 'password', 'user'])
  t.equal(readlinkSync(join(root, 'password')), '..data/password')
  t.strictSame(readByPath(root), { password: 'one', user: 'app' })
  t.strictSame(describeDirectory(join(root, '..slot-a')), describeDirectory(join(root, '..slot-b')))
  t.equal(statSync(join(root, 'password')).mode & 0o7777, 0o640)
  t.equal(statSync(join(root, '..slot-a')).mode & 0o7777, 0o755)
})

t.test('slots may be entered by any user whatever the umask', async (t) => {
  const { root, apply } = setUp(t)
  const before = process.umask(0o077)
  t.teardown(() => process.umask(before))
  await apply({ password: 'one' }, 0o644)
  t.equal(statSync(join(root, '..slot-b')).mode & 0o7777, 0o755)
  t.equal(statSync(join(root, 'password')).mode & 0o7777, 0o644)
})

t.test('a change swaps slots, keeps both inodes and returns what changed', async (t) => {
  const { root, grace, apply } = setUp(t)
  await apply({ password: 'one', user: 'app' })
  const inodes = new Set(['..slot-a', '..slot-b'].map((slot) => inode(join(root, slot, 'password'))))
  for (const password of ['two', 'a much longer third', '4', '']) {
    t.strictSame((await apply({ password, user: 'app' })).changed, ['password'])
    t.strictSame(readByPath(root), { password, user: 'app' })
    t.ok(inodes.has(inode(join(root, 'password'))))
    t.strictSame(describeDirectory(join(root, '..slot-a')), describeDirectory(join(root, '..slot-b')))
  }
  t.strictSame(grace.waitedMs, [50, 50, 50, 50])
})

t.test('the idle slot keeps the old content for the grace period, then gets the new one', async (t) => {
  const { root, grace, apply } = setUp(t)
  await apply({ password: 'one' })
  const idle = join(root, readlinkSync(join(root, '..data')), 'password')
  const seen: unknown[] = []
  grace.during = () => seen.push([readByPath(root), describeDirectory(join(idle, '..')).password])
  await apply({ password: 'two' })
  t.match(seen, [[{ password: 'two' }, { text: 'one' }]])
  t.match(describeDirectory(join(idle, '..')), { password: { text: 'two' } })
})

t.test('mtime moves once, strictly forward, and only where content changed', async (t) => {
  const { root, clock, grace, apply } = setUp(t)
  await apply({ password: 'one', user: 'app' })
  const user = mtimeNs(join(root, 'user'))
  let last = mtimeNs(join(root, 'password'))
  // The clock stops, then goes back: mtime must still move forward.
  const stopped = clock.now()
  for (const [password, nowMs] of [
    ['two', stopped],
    ['three', stopped],
    ['four', 0],
  ] as const) {
    const atSwap: bigint[] = []
    grace.during = () => atSwap.push(mtimeNs(join(root, 'password')))
    clock.now = () => nowMs
    await apply({ password, user: 'app' })
    const present = mtimeNs(join(root, 'password'))
    t.ok(present > last)
    t.strictSame(atSwap, [present], 'the touch does not change it a second time')
    t.equal(mtimeNs(join(root, 'user')), user)
    last = present
  }
})

t.test('an unchanged set is not touched', async (t) => {
  const { root, grace, apply } = setUp(t)
  await apply({ password: 'one', empty: '' })
  const before = [describeDirectory(join(root, '..slot-a')), statSync(root, { bigint: true }).mtimeNs]
  t.strictSame(await apply({ password: 'one', empty: '' }), { changed: [], added: [], removed: [] })
  t.strictSame([describeDirectory(join(root, '..slot-a')), statSync(root, { bigint: true }).mtimeNs], before)
  t.strictSame(grace.waitedMs, [])
})

t.test('files are added and removed in both slots', async (t) => {
  const { root, apply } = setUp(t)
  await apply({ password: 'one', old: 'gone soon' })
  t.strictSame(await apply({ password: 'one', fresh: 'new' }), {
    changed: [],
    added: ['fresh'],
    removed: ['old'],
  })
  t.strictSame(readByPath(root), { password: 'one', fresh: 'new' })
  for (const slot of ['..slot-a', '..slot-b'])
    t.strictSame(readdirSync(join(root, slot)).sort(), ['fresh', 'password'])
  t.strictSame(await apply({}), { changed: [], added: [], removed: ['fresh', 'password'] })
  t.strictSame(readByPath(root), {})
})

t.test('a change of only the mode reaches both slots and leaves mtime', async (t) => {
  const { root, apply } = setUp(t)
  await apply({ password: 'one' }, 0o640)
  const before = mtimeNs(join(root, 'password'))
  t.strictSame((await apply({ password: 'one' }, 0o600)).changed, ['password'])
  for (const slot of ['..slot-a', '..slot-b']) {
    t.equal(statSync(join(root, slot, 'password')).mode & 0o7777, 0o600)
    t.equal(mtimeNs(join(root, slot, 'password')), before)
  }
})

t.test('a change of only the group reaches both slots and leaves mtime', { skip: !isRoot }, async (t) => {
  const { root, volume, apply } = setUp(t)
  await apply({ password: 'one' })
  const before = mtimeNs(join(root, 'password'))
  const given = volume.apply(root, { ...shape, gid: 2000 }, rendered({ password: 'one' }))
  // A user namespace may not have the group; then the fault must name it.
  if (!groupExists(2000)) {
    await t.rejects(given, faulty('volume_io', /EINVAL.*gid 2000/))
    return
  }
  await given
  for (const slot of ['..slot-a', '..slot-b']) {
    t.equal(statSync(join(root, slot, 'password')).gid, 2000)
    t.equal(mtimeNs(join(root, slot, 'password')), before)
  }
})

t.test('a set of which two copies do not fit is refused before anything is touched', async (t) => {
  const { root, apply } = setUp(t)
  await apply({ password: 'one' })
  const before = describeDirectory(join(root, '..slot-a'))
  const entries = readdirSync(root)
  const large = Buffer.alloc(shape.sizeBytes / 2 + 1)
  await t.rejects(
    apply({ password: 'two', large }),
    faulty('volume_full', /volume holds 1048576 .Live keeps two copies/),
  )
  t.strictSame(describeDirectory(join(root, '..slot-a')), before)
  t.strictSame(readdirSync(root), entries)
  await t.resolves(apply({ large: large.subarray(1) }), 'what just fits is taken')
})

t.test('repair syncs the idle slot after an interrupted grace period', async (t) => {
  const { root, grace, volume, apply } = setUp(t)
  await apply({ password: 'one' })
  grace.during = () => {
    throw new FaultError('shutting_down')
  }
  await t.rejects(apply({ password: 'two' }), faulty('shutting_down'))
  t.strictSame(readByPath(root), { password: 'two' })
  t.equal(await volume.repair(root, shape), true)
  t.strictSame(describeDirectory(join(root, '..slot-a')), describeDirectory(join(root, '..slot-b')))
})

t.test('repair returns false where there is no complete set', async (t) => {
  const { root, volume } = setUp(t)
  t.equal(await volume.repair(root, shape), false, 'nothing at all')
  symlinkSync('..slot-a', join(root, '..data'))
  t.equal(await volume.repair(root, shape), false, '..data points nowhere')
  unlinkSync(join(root, '..data'))
  symlinkSync('/', join(root, '..data'))
  t.equal(await volume.repair(root, shape), false, '..data points out of the volume')
})

t.test('repair adds missing links and removes extra ones', async (t) => {
  const { root, volume, apply } = setUp(t)
  await apply({ password: 'one', user: 'app' })
  unlinkSync(join(root, 'user'))
  symlinkSync('..data/ghost', join(root, 'ghost'))
  symlinkSync('..slot-b', join(root, '..data_tmp'))
  t.equal(await volume.repair(root, shape), true)
  t.strictSame(readByPath(root), { password: 'one', user: 'app' })
  t.strictSame(readdirSync(root).sort(), ['..data', '..slot-a', '..slot-b', 'password', 'user'])
})

t.test('links that a container put into a slot are never written through', async (t) => {
  const { root, apply } = setUp(t)
  const outside = join(temporaryDirectory(t), 'host-file')
  writeFileSync(outside, 'untouched')
  await apply({ password: 'one' })
  for (const slot of ['..slot-a', '..slot-b']) {
    unlinkSync(join(root, slot, 'password'))
    symlinkSync(outside, join(root, slot, 'password'))
  }
  await apply({ password: 'two' })
  t.strictSame(readActive(root), { password: 'two' })
  t.match(describeDirectory(join(outside, '..')), { 'host-file': { text: 'untouched' } })
})

t.test('content that a container changed in the volume is corrected', async (t) => {
  const { root, apply } = setUp(t)
  await apply({ password: 'one' })
  writeFileSync(join(root, 'password'), 'tampered')
  chmodSync(join(root, 'password'), 0o666)
  await apply({ password: 'one' })
  t.strictSame(readByPath(root), { password: 'one' })
  t.equal(statSync(join(root, 'password')).mode & 0o7777, 0o640)
})

t.test('wipe leaves nothing and never throws', async (t) => {
  const { root, volume, apply } = setUp(t)
  await apply({ password: 'one' })
  volume.wipe(root)
  t.strictSame(readdirSync(root), [])
  volume.wipe(join(root, 'gone'))
})

t.test('a name that would leave the volume is refused', async (t) => {
  const { apply } = setUp(t)
  for (const name of ['../x', '..', '.', '..data', 'a/b', '']) {
    await t.rejects(apply({ [name]: 'x' }), faulty('volume_io'))
  }
})
