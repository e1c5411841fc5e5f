import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createVolumeFiles } from '../../src/volume/volume-files.ts'
import { FakeClock } from '../fakes/clock.ts'
import { createFailingDisk } from '../fakes/failing-disk.ts'
import { faulty } from '../harness/faulty.ts'
import { inode, mtimeNs, owner, readByPath, rendered, temporaryDirectory } from '../harness/volume/volume.ts'

const shape = { updateMode: 'InPlace', gid: undefined, sizeBytes: 64 << 10 } as const

function setUp(t: Test) {
  const root = temporaryDirectory(t)
  const volume = createVolumeFiles({ clock: new FakeClock(0), graceMs: 50, owner })
  const apply = (files: Parameters<typeof rendered>[0], mode?: number) =>
    volume.apply(root, shape, rendered(files, mode))
  return { root, volume, apply }
}

t.test('files are real, at the top level, each with a permanent inode', async (t) => {
  const { root, apply } = setUp(t)
  t.strictSame((await apply({ password: 'one', user: 'app' })).added, ['password', 'user'])
  const first = inode(join(root, 'password'))
  for (const password of ['two', 'a much longer third', '4', '', 'five']) {
    t.strictSame(await apply({ password, user: 'app' }), { changed: ['password'], added: [], removed: [] })
    t.strictSame(readByPath(root), { password, user: 'app' })
    t.equal(inode(join(root, 'password')), first)
  }
  t.ok(lstatSync(join(root, 'password')).isFile())
  t.strictSame(readdirSync(root).sort(), ['password', 'user'])
})

t.test('mtime moves forward where content changed, and nowhere else', async (t) => {
  const { root, apply } = setUp(t)
  await apply({ password: '0', user: 'app' })
  const user = mtimeNs(join(root, 'user'))
  // Faster than the kernel's clock ticks.
  for (let count = 1, last = mtimeNs(join(root, 'password')); count < 20; count++) {
    await apply({ password: String(count), user: 'app' })
    const present = mtimeNs(join(root, 'password'))
    t.ok(present > last)
    last = present
  }
  t.equal(mtimeNs(join(root, 'user')), user)
  const password = mtimeNs(join(root, 'password'))
  t.strictSame((await apply({ password: '19', user: 'app' }, 0o600)).changed, ['password', 'user'])
  t.equal(mtimeNs(join(root, 'password')), password, 'a new mode leaves it')
  t.equal(statSync(join(root, 'password')).mode & 0o777, 0o600)
})

t.test('files are added and removed', async (t) => {
  const { root, apply } = setUp(t)
  await apply({ password: 'one', old: 'gone soon' })
  const change = await apply({ password: 'one', fresh: 'new' })
  t.strictSame(change, { changed: [], added: ['fresh'], removed: ['old'] })
  t.strictSame(readByPath(root), { password: 'one', fresh: 'new' })
})

t.test('one copy has to fit, and a set that does not changes nothing', async (t) => {
  const { root, apply } = setUp(t)
  await t.resolves(apply({ large: 'x'.repeat(shape.sizeBytes) }))
  const refused = apply({ large: 'y'.repeat(shape.sizeBytes), more: 'z' })
  await t.rejects(refused, faulty('volume_full', /need 69632 bytes.*holds 65536/))
  t.strictSame(readByPath(root), { large: 'x'.repeat(shape.sizeBytes) })
})

t.test('killed at any step: new files are complete or absent, and the next apply is correct', async (t) => {
  const root = join(temporaryDirectory(t), 'target')
  const volumeOn = (disk: ReturnType<typeof createFailingDisk>) =>
    createVolumeFiles({ clock: new FakeClock(), graceMs: 50, disk, owner })
  let dieAt = 0
  for (; ; dieAt++) {
    rmSync(root, { recursive: true, force: true })
    mkdirSync(root)
    await volumeOn(createFailingDisk({})).apply(root, shape, rendered({ password: 'one', old: 'o' }))
    const update = rendered({ password: 'longer', fresh: 'new file' })
    const killed = await volumeOn(createFailingDisk({ dieAt, tear: true }))
      .apply(root, shape, update)
      .then(
        () => false,
        () => true,
      )
    if (!killed) break
    const seen = readByPath(root)
    if ('fresh' in seen) t.equal(seen.fresh, 'new file')
    const next = volumeOn(createFailingDisk({}))
    t.equal(await next.repair(root, shape), true)
    await next.apply(root, shape, update)
    t.strictSame(readByPath(root), { password: 'longer', fresh: 'new file' })
    t.strictSame(readdirSync(root).sort(), ['fresh', 'password'])
  }
  t.ok(dieAt > 5)
})

t.test('a volume that was Live becomes real files, and back', async (t) => {
  const { root, volume, apply } = setUp(t)
  const live = { ...shape, updateMode: 'Live' } as const
  const clockless = createVolumeFiles({
    clock: Object.assign(new FakeClock(), { sleep: async () => {} }),
    graceMs: 50,
    owner,
  })
  await volume.apply(root, live, rendered({ password: 'one' }))
  await apply({ password: 'two' })
  t.strictSame(readdirSync(root), ['password'])
  t.ok(lstatSync(join(root, 'password')).isFile())
  await clockless.apply(root, live, rendered({ password: 'three' }))
  t.ok(lstatSync(join(root, 'password')).isSymbolicLink())
  t.equal(readFileSync(join(root, 'password'), 'utf8'), 'three')
})

t.test('an incomplete first set does not count, and the next apply completes it', async (t) => {
  const root = join(temporaryDirectory(t), 'target')
  const volumeOn = (disk: ReturnType<typeof createFailingDisk>) =>
    createVolumeFiles({ clock: new FakeClock(), graceMs: 50, disk, owner })
  const set = { password: 'one', user: 'app', empty: '' }
  let partial = 0
  for (let dieAt = 0; ; dieAt++) {
    rmSync(root, { recursive: true, force: true })
    mkdirSync(root)
    const died = await volumeOn(createFailingDisk({ dieAt, tear: true }))
      .apply(root, shape, rendered(set))
      .then(
        () => false,
        () => true,
      )
    const seen = readByPath(root)
    const next = volumeOn(createFailingDisk({}))
    if (!died) {
      t.equal(next.found(root), 'InPlace')
      t.equal(await next.repair(root, shape), true)
      break
    }
    if (Object.keys(seen).length > 0) partial++
    t.equal(next.found(root), undefined, `step ${dieAt}: ${Object.keys(seen)} is no set of files`)
    if (Object.keys(seen).length > 0) t.equal(await next.repair(root, shape), false, `step ${dieAt}`)
    await next.apply(root, shape, rendered(set))
    t.strictSame(readByPath(root), set)
    t.strictSame(readdirSync(root).sort(), Object.keys(set).sort(), 'the mark is gone')
  }
  t.ok(partial > 5)
})

t.test('a complete set stays one when a process is killed while it adds a file', async (t) => {
  const { root, volume, apply } = setUp(t)
  await apply({ password: 'one' })
  const disk = createFailingDisk({ dieAt: 3 })
  const dying = createVolumeFiles({ clock: new FakeClock(0), graceMs: 50, disk, owner })
  await t.rejects(dying.apply(root, shape, rendered({ password: 'one', more: 'two' })))
  t.equal(volume.found(root), 'InPlace')
  t.equal(await volume.repair(root, shape), true)
  t.strictSame(readByPath(root), { password: 'one' })
})

t.test('files of an earlier version, which set no mark, are a complete set', async (t) => {
  const { root, volume } = setUp(t)
  writeFileSync(join(root, 'password'), 'one')
  t.equal(volume.found(root), 'InPlace')
  t.equal(await volume.repair(root, shape), true)
})

t.test('mtime never goes back when the clock does', async (t) => {
  const root = temporaryDirectory(t)
  const clock = new FakeClock()
  const volume = createVolumeFiles({ clock, graceMs: 50, owner })
  await volume.apply(root, shape, rendered({ password: 'one' }))
  const future = new Date(Date.now() + 3 * 3_600_000)
  utimesSync(join(root, 'password'), future, future)
  const before = mtimeNs(join(root, 'password'))
  clock.step(-3 * 3_600_000)
  await volume.apply(root, shape, rendered({ password: 'two' }))
  t.ok(mtimeNs(join(root, 'password')) > before)
})
