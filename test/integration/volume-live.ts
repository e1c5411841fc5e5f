import { readdirSync, readFileSync, readlinkSync, realpathSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createClock } from '../../src/ops/clock.ts'
import { createVolumeFiles } from '../../src/volume/volume-files.ts'
import { measureHolds } from '../harness/measure/loop-holds.ts'
import { type InotifyEvent, watchInotify } from '../harness/volume/inotify.ts'
import { bindFile, mayMount, mountedVolume } from '../harness/volume/tmpfs.ts'
import { describeDirectory, groupExists, mtimeNs, readByPath, rendered } from '../harness/volume/volume.ts'

const shape = { updateMode: 'Live', gid: undefined, sizeBytes: 4 << 20 } as const
const ROTATIONS = 12

function setUp(t: Test, sizeBytes: number = shape.sizeBytes) {
  const root = mountedVolume(t, { sizeBytes })
  const volume = createVolumeFiles({ clock: createClock(), graceMs: 50 })
  const apply = (files: Parameters<typeof rendered>[0], mode?: number) =>
    volume.apply(root, { ...shape, sizeBytes }, rendered(files, mode))
  return { root, volume, apply }
}

/** Lengths go up and down, and stay. */
function value(rotation: number): string {
  return `${rotation}:${'x'.repeat((rotation % 3) * 5000)}`
}

/** Lets events that should not come have their chance. */
const eventsPass = () => sleep(150)

t.test('on a real tmpfs', { skip: !mayMount() && 'needs mount rights' }, async (t) => {
  t.test('watches set once see every rotation after its content is there', async (t) => {
    const { root, apply } = setUp(t)
    await apply({ password: value(0), other: 'stays' })
    const file = join(root, 'password')
    const other = join(root, 'other')
    const data = join(root, '..data')
    const watch = await watchInotify([file, other, root, data])
    t.teardown(() => watch.close())

    for (let rotation = 1; rotation <= ROTATIONS; rotation++) {
      watch.clear()
      // Readers woken by the event must find the new value: looked at when the last one comes.
      await apply({ password: value(rotation), other: 'stays' })
      await watch.waitFor((event) => event.path === file && event.mask.includes('CLOSE_WRITE'))
      await eventsPass()
      const moved = watch
        .events()
        .findIndex((event) => is(root, 'MOVED_TO')(event) && event.name === '..data')
      t.ok(moved >= 0, `rotation ${rotation}: the directory's watch sees ..data moved in`)
      t.ok(
        watch.events().findLastIndex(is(file, 'MODIFY')) > moved,
        `rotation ${rotation}: the file's watch sees IN_MODIFY after the swap`,
      )
      t.equal(readFileSync(file, 'utf8'), value(rotation))
      t.notOk(watch.events().some(is(file, 'DELETE_SELF')), 'the watch lives on')
      t.notOk(watch.events().some(is(other, 'MODIFY')), 'the unchanged file is silent')
      t.ok(
        watch
          .events()
          .some((event) => event.path === data && event.name === 'password' && event.mask.includes('MODIFY')),
        `rotation ${rotation}: a watch through ..data sees its file modified`,
      )
    }
  })

  t.test('an unchanged set makes no event and moves no time', async (t) => {
    const { root, apply } = setUp(t)
    await apply({ password: 'one' })
    await apply({ password: 'two' })
    const noisy = 'MODIFY,ATTRIB,CLOSE_WRITE,MOVED_TO,CREATE,DELETE'
    const watch = await watchInotify(
      ['.', 'password', '..data', '..slot-a', '..slot-b'].map((name) => `${join(root, name)}:${noisy}`),
    )
    t.teardown(() => watch.close())
    const before = [describeDirectory(join(root, '..slot-a')), describeDirectory(join(root, '..slot-b'))]
    for (let again = 0; again < 3; again++) await apply({ password: 'two' })
    await eventsPass()
    t.strictSame(watch.events(), [])
    t.strictSame(
      [describeDirectory(join(root, '..slot-a')), describeDirectory(join(root, '..slot-b'))],
      before,
    )
  })

  t.test('subPath binds of either slot hold every new value', async (t) => {
    const { root, apply } = setUp(t)
    await apply({ password: value(0) })
    const first = bindFile(t, realpathSync(join(root, 'password')))
    await apply({ password: value(1) })
    const second = bindFile(t, realpathSync(join(root, 'password')))
    t.not(statSync(first).ino, statSync(second).ino, 'one bind for each slot')
    const watch = await watchInotify([`${first}:MODIFY`, `${second}:MODIFY`])
    t.teardown(() => watch.close())
    for (let rotation = 2; rotation < 2 + ROTATIONS; rotation++) {
      watch.clear()
      await apply({ password: value(rotation) })
      for (const bound of [first, second]) {
        t.equal(readFileSync(bound, 'utf8'), value(rotation), `rotation ${rotation}`)
        t.equal(mtimeNs(bound), mtimeNs(join(root, 'password')))
        await watch.waitFor(is(bound, 'MODIFY'))
      }
    }
  })

  t.test('mtime moves exactly when content does, to the nanosecond', async (t) => {
    const { root, apply } = setUp(t)
    await apply({ password: 'one', user: 'app' })
    const user = mtimeNs(join(root, 'user'))
    let last = mtimeNs(join(root, 'password'))
    for (const password of ['two', 'three', 'three', 'two']) {
      const { changed } = await apply({ password, user: 'app' })
      const present = mtimeNs(join(root, 'password'))
      t.equal(present > last, changed.length > 0)
      t.equal(mtimeNs(join(root, 'user')), user)
      await eventsPass()
      t.equal(mtimeNs(join(root, 'password')), present, 'and not once more afterwards')
      last = present
    }
  })

  t.test('contents of every kind and size, and modes, arrive as they are', async (t) => {
    const { root, apply } = setUp(t)
    const binary = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
    const large = Buffer.alloc(1 << 20, 'large')
    const set = { empty: '', one: 'x', binary, large, ['long-name'.padEnd(250, '-')]: 'name' }
    await apply({ ...set, large: 'small at first' }, 0o400)
    await apply(set, 0o400)
    t.strictSame(readByPath(root), latin1(set))
    t.equal(statSync(join(root, 'one')).mode & 0o777, 0o400)
    await apply({ empty: 'no more', one: '', binary: 'text', large: '' })
    t.strictSame(readByPath(root), { empty: 'no more', one: '', binary: 'text', large: '' })
  })

  t.test('five hundred files change together and hold the event loop for no long time', async (t) => {
    const { root, apply } = setUp(t, 8 << 20)
    const set = (generation: number) =>
      Object.fromEntries(
        Array.from({ length: 500 }, (_, index) => [`file-${index}`, `${generation}-${index}`]),
      )
    await apply(set(1))
    const longest = measureHolds()
    await apply(set(2))
    t.strictSame(readByPath(root), set(2))
    t.ok(longest() < 100, `the loop was held for ${longest().toFixed(0)} ms at most`)
  })

  t.test('a full volume swings between sets that only just fit', async (t) => {
    const size = 256 << 10
    const { root, apply } = setUp(t, size)
    const half = size / 2
    const sets = [
      { a: half - 4096, b: 4096 },
      { a: 4096, b: half - 4096 },
      { c: half },
      { a: half / 2, b: half / 2 },
    ]
    for (const sizes of [...sets, ...sets]) {
      const set = Object.fromEntries(Object.entries(sizes).map(([name, bytes]) => [name, 'x'.repeat(bytes)]))
      await t.resolves(apply(set))
      t.strictSame(readByPath(root), set)
    }
    const before = describeDirectory(join(root, readlinkSync(join(root, '..data'))))
    await t.rejects(apply({ a: 'x'.repeat(half), b: 'x' }), { message: /volume holds 262144/ })
    t.strictSame(describeDirectory(join(root, readlinkSync(join(root, '..data')))), before)
  })

  t.test('files belong to root and the fsGroup', { skip: !groupExists(2000) }, async (t) => {
    const { root, volume } = setUp(t)
    await volume.apply(root, { ...shape, gid: 2000 }, rendered({ password: 'one' }, 0o640))
    for (const slot of ['..slot-a', '..slot-b']) {
      t.match(statSync(join(root, slot, 'password')), { uid: 0, gid: 2000 })
    }
  })

  t.test('wipe gives all memory back', async (t) => {
    const { root, volume, apply } = setUp(t)
    await apply({ large: 'x'.repeat(1 << 20) })
    volume.wipe(root)
    t.strictSame(readdirSync(root), [])
  })
})

function is(path: string, mask: string): (event: InotifyEvent) => boolean {
  return (event) => event.path === path && event.mask.includes(mask)
}

function latin1(set: Record<string, string | Buffer>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(set).map(([name, content]) => [name, Buffer.from(content).toString('latin1')]),
  )
}
