import { mkdirSync, readdirSync, readlinkSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createVolumeFiles } from '../../src/volume/volume-files.ts'
import { FakeClock } from '../fakes/clock.ts'
import { createFailingDisk } from '../fakes/failing-disk.ts'
import { faulty } from '../harness/faulty.ts'
import {
  inode,
  mtimeNs,
  owner,
  readActive,
  readByPath,
  rendered,
  temporaryDirectory,
} from '../harness/volume/volume.ts'

const shape = { updateMode: 'Atomic', gid: undefined, sizeBytes: 64 << 10 } as const

function setUp(t: Test) {
  const root = temporaryDirectory(t)
  const volume = createVolumeFiles({ clock: new FakeClock(), graceMs: 50, owner })
  const apply = (files: Parameters<typeof rendered>[0], mode?: number) =>
    volume.apply(root, shape, rendered(files, mode))
  return { root, volume, apply }
}

t.test('a change creates a directory with new inodes and removes the old one', async (t) => {
  const { root, apply } = setUp(t)
  await apply({ password: 'one', user: 'app' })
  const [directory, before] = [readlinkSync(join(root, '..data')), inode(join(root, 'password'))]
  t.match(directory, /^\.\.2030_01_01_00_00_00\./)
  t.equal(statSync(join(root, directory)).mode & 0o7777, 0o755)
  const user = mtimeNs(join(root, 'user'))
  const password = mtimeNs(join(root, 'password'))
  t.strictSame(await apply({ password: 'two', user: 'app' }), {
    changed: ['password'],
    added: [],
    removed: [],
  })
  const next = readlinkSync(join(root, '..data'))
  t.not(next, directory)
  t.not(inode(join(root, 'password')), before)
  t.strictSame(readdirSync(root).sort(), [next, '..data', 'password', 'user'].sort())
  t.equal(readlinkSync(join(root, 'password')), '..data/password')
  t.equal(mtimeNs(join(root, 'user')), user, 'the unchanged file keeps its time')
  t.ok(mtimeNs(join(root, 'password')) > password)
})

t.test('an unchanged set keeps its directory', async (t) => {
  const { root, apply } = setUp(t)
  await apply({ password: 'one' })
  const directory = readlinkSync(join(root, '..data'))
  t.strictSame(await apply({ password: 'one' }), { changed: [], added: [], removed: [] })
  t.equal(readlinkSync(join(root, '..data')), directory)
})

t.test('an empty set is a complete set', async (t) => {
  const { root, volume, apply } = setUp(t)
  t.equal(await volume.repair(root, shape), false)
  await apply({})
  t.equal(await volume.repair(root, shape), true)
  t.strictSame(readByPath(root), {})
})

t.test('two copies have to fit', async (t) => {
  const { root, apply } = setUp(t)
  await apply({ password: 'one' })
  const large = 'x'.repeat(shape.sizeBytes / 2 + 1)
  await t.rejects(apply({ large }), faulty('volume_full', /Atomic keeps two copies/))
  t.strictSame(readByPath(root), { password: 'one' })
})

t.test('killed at any step: readers see one complete set, and repair and apply are correct', async (t) => {
  const root = join(temporaryDirectory(t), 'target')
  const volumeOn = (disk: ReturnType<typeof createFailingDisk>) =>
    createVolumeFiles({ clock: new FakeClock(), graceMs: 50, disk, owner })
  const [old, fresh] = [
    { password: 'one', removed: 'r' },
    { added: 'a', password: 'longer' },
  ]
  let dieAt = 0
  for (; ; dieAt++) {
    rmSync(root, { recursive: true, force: true })
    mkdirSync(root)
    await volumeOn(createFailingDisk({})).apply(root, shape, rendered(old))
    const killed = await volumeOn(createFailingDisk({ dieAt, tear: true }))
      .apply(root, shape, rendered(fresh))
      .then(
        () => false,
        () => true,
      )
    if (!killed) break
    const visible = readActive(root)
    t.ok(
      [old, fresh].some((set) => JSON.stringify(set) === JSON.stringify(visible)),
      `step ${dieAt}`,
    )
    const next = volumeOn(createFailingDisk({}))
    t.equal(await next.repair(root, shape), true)
    t.strictSame(readByPath(root), visible, 'repair keeps the set that was visible')
    await next.apply(root, shape, rendered(fresh))
    t.strictSame(readByPath(root), fresh)
    t.equal(readdirSync(root).filter((name) => name.startsWith('..')).length, 2, 'no directory lingers')
  }
  t.ok(dieAt > 8)
})
