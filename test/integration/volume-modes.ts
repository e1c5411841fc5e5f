import { execFileSync } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { UpdateMode } from '../../src/core/imports/import.ts'
import { createClock } from '../../src/ops/clock.ts'
import { createMounter } from '../../src/volume/mount.ts'
import { volumeStats } from '../../src/volume/stats.ts'
import { createVolumeFiles } from '../../src/volume/volume-files.ts'
import { faulty } from '../harness/faulty.ts'
import { watchInotify } from '../harness/volume/inotify.ts'
import { bindFile, mayMount, mountedVolume } from '../harness/volume/tmpfs.ts'
import { groupExists, inode, mtimeNs, readByPath, rendered } from '../harness/volume/volume.ts'

const KIB = 1 << 10
const skip = !mayMount() && 'needs mount rights'

function setUp(t: Test, updateMode: UpdateMode, sizeBytes = 4 << 20) {
  const root = mountedVolume(t, { sizeBytes })
  const volume = createVolumeFiles({ clock: createClock(), graceMs: 5 })
  const apply = (files: Parameters<typeof rendered>[0]) =>
    volume.apply(root, { updateMode, gid: undefined, sizeBytes }, rendered(files))
  return { root, volume, apply }
}

const eventsPass = () => sleep(150)

t.test('InPlace on a real tmpfs', { skip }, async (t) => {
  t.test('a watch and a bind set once see every rotation on the same inode', async (t) => {
    const { root, apply } = setUp(t, 'InPlace')
    await apply({ password: '0', other: 'stays' })
    const file = join(root, 'password')
    const first = inode(file)
    const bound = bindFile(t, file)
    const watch = await watchInotify([file, `${join(root, 'other')}:MODIFY,ATTRIB,CLOSE_WRITE`])
    t.teardown(() => watch.close())
    for (let rotation = 1; rotation <= 10; rotation++) {
      watch.clear()
      const password = `${rotation}`.repeat(rotation % 2 === 0 ? 5000 : 1)
      await apply({ password, other: 'stays' })
      await watch.waitFor((event) => event.path === file && event.mask.includes('CLOSE_WRITE'))
      t.ok(watch.events().some((event) => event.path === file && event.mask.includes('MODIFY')))
      t.equal(readFileSync(file, 'utf8'), password)
      t.equal(readFileSync(bound, 'utf8'), password)
      t.equal(inode(file), first)
    }
    watch.clear()
    const before = mtimeNs(file)
    await apply({ password: '1', other: 'stays' })
    await apply({ password: '1', other: 'stays' })
    t.ok(mtimeNs(file) > before)
    await watch.waitFor((event) => event.mask.includes('CLOSE_WRITE'))
    await eventsPass()
    const closed = watch.events().filter((event) => event.mask.includes('CLOSE_WRITE'))
    t.equal(closed.length, 1, 'the unchanged set after it made no event')
    t.notOk(
      watch.events().some((event) => event.path !== file),
      'the unchanged file is silent',
    )
  })

  t.test('a volume is filled by one copy, changed and filled again', async (t) => {
    const { root, apply } = setUp(t, 'InPlace', 64 * KIB)
    for (const sizes of [{ a: 60, b: 4 }, { a: 4, b: 60 }, { c: 64 }]) {
      const set = Object.fromEntries(
        Object.entries(sizes).map(([name, kib]) => [name, name.repeat(kib * KIB)]),
      )
      await apply(set)
      t.strictSame(readByPath(root), set)
      t.equal(volumeStats(root).bytes.available, 0)
    }
    await t.rejects(apply({ c: 'c'.repeat(64 * KIB), d: 'd' }), faulty('volume_full'))
  })
})

t.test('Atomic on a real tmpfs', { skip }, async (t) => {
  t.test('each rotation is a fresh inode and a ..data moved in', async (t) => {
    const { root, apply } = setUp(t, 'Atomic')
    await apply({ password: '0' })
    const watch = await watchInotify([`${root}:MOVED_TO`])
    t.teardown(() => watch.close())
    for (let rotation = 1; rotation <= 10; rotation++) {
      watch.clear()
      const before = inode(join(root, 'password'))
      const opened = openSync(realpathSync(join(root, 'password')), 'r')
      await apply({ password: String(rotation) })
      await watch.waitFor((event) => event.name === '..data')
      t.not(inode(join(root, 'password')), before)
      t.equal(readFileSync(opened, 'utf8'), String(rotation - 1), 'an open descriptor keeps the old')
      closeSync(opened)
      t.equal(readFileSync(join(root, 'password'), 'utf8'), String(rotation))
    }
    await apply({ password: '10' })
    await eventsPass()
    t.equal(watch.events().length, 1, 'the unchanged set made no event')
  })

  t.test('a volume swings between sets that only just fit twice', async (t) => {
    const { root, apply } = setUp(t, 'Atomic', 64 * KIB)
    for (const letter of ['a', 'b', 'c']) {
      await apply({ [letter]: letter.repeat(32 * KIB) })
      t.strictSame(readByPath(root), { [letter]: letter.repeat(32 * KIB) })
    }
  })
})

t.test('mounts', { skip }, async (t) => {
  t.test('a volume is mounted with its size, inodes, mode and flags', async (t) => {
    const root = mountedVolume(t, { sizeBytes: 64 * KIB })
    const line = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .find((text) => text.includes(` ${root} `))
    t.match(line, /nosuid,nodev,noexec/)
    t.match(line, / - tmpfs vault-files-csi /)
    t.match(line, /size=64k/)
    t.equal(statSync(root).mode & 0o7777, 0o755)
    const { bytes, inodes } = volumeStats(root)
    t.match(bytes, { total: 64 * KIB, used: 0, available: 64 * KIB })
    t.equal(inodes.total, 8192)
    t.equal(createMounter().list().get(root), 'tmpfs')
  })

  t.test('a volume takes another size, and keeps all else', async (t) => {
    const mounter = createMounter()
    const root = mountedVolume(t, { sizeBytes: 64 * KIB, ...(groupExists(2000) && { gid: 2000 }) })
    writeFileSync(join(root, 'password'), 'x'.repeat(32 * KIB))
    const optionsOf = () =>
      readFileSync('/proc/self/mountinfo', 'utf8')
        .split('\n')
        .find((text) => text.includes(` ${root} `))
    const before = optionsOf()
    mounter.resize(root, 1 << 20)
    t.equal(volumeStats(root).bytes.total, 1 << 20)
    t.equal(optionsOf(), before?.replace('size=64k', 'size=1024k'))
    // Another process, which has learnt nothing of the kernel yet.
    createMounter().resize(root, 40 * KIB)
    t.equal(optionsOf(), before?.replace('size=64k', 'size=40k'))
    t.equal(readFileSync(join(root, 'password'), 'utf8').length, 32 * KIB)
    t.throws(() => mounter.resize(root, 16 * KIB), faulty('mount_failed', /size=16384.*EINVAL/))
    t.equal(volumeStats(root).bytes.total, 40 * KIB, 'less than what is in it is refused')
  })

  t.test('a link in the place of the target leads nothing out, one on the way to it does', async (t) => {
    const mounter = createMounter()
    const folder = mkdtempSync(join(tmpdir(), 'vault-files-link-'))
    t.teardown(() => rmSync(folder, { recursive: true, force: true }))
    mkdirSync(join(folder, 'kubelet'))
    mkdirSync(join(folder, 'outside'))
    symlinkSync('kubelet', join(folder, 'linked'))
    symlinkSync('../outside', join(folder, 'kubelet/volume'))
    const target = join(folder, 'linked/volume')
    t.throws(() => mounter.mount(target, { sizeBytes: 4096, gid: undefined }), faulty('mount_failed'))
    t.notOk(mounter.isMounted(join(folder, 'outside')))
    t.notOk(mounter.isMounted(target))
    unlinkSync(join(folder, 'kubelet/volume'))
    mounter.mount(target, { sizeBytes: 4096, gid: undefined })
    t.ok(mounter.isMounted(join(folder, 'kubelet/volume')))
    t.ok(mounter.isMounted(target))
    mounter.unmount(target)
    t.strictSame(readdirSync(join(folder, 'kubelet')), [])
  })

  t.test('cleanup goes through when there are no descriptors left', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'vault-files-descriptors-'))
    t.teardown(() => rmSync(folder, { recursive: true, force: true }))
    const script = join(import.meta.dirname, '../harness/volume/no-descriptors.ts')
    const said = execFileSync(process.execPath, [script, folder], { encoding: 'utf8' })
    t.strictSame(JSON.parse(said), {
      descriptors: 'EMFILE',
      apply: 'volume_io',
      isMountedBefore: true,
      isMountedAfter: false,
      left: ['state'],
      ledger: [],
    })
  })

  t.test('the group of the pod owns the root of the volume', { skip: !groupExists(2000) }, async (t) => {
    t.equal(statSync(mountedVolume(t, { gid: 2000 })).gid, 2000)
  })

  t.test('stacked and busy mounts go', async (t) => {
    const mounter = createMounter()
    const root = mkdtempSync(join(tmpdir(), 'vault-files-stack '))
    for (let times = 0; times < 3; times++) mounter.mount(root, { sizeBytes: 64 * KIB, gid: undefined })
    t.ok(mounter.isMounted(root))
    const busy = openSync(root, 'r')
    mounter.unmount(root)
    t.notOk(mounter.isMounted(root))
    t.notOk(mounter.list().has(root))
    closeSync(busy)
    mounter.unmount(root)
  })

  t.test('a missing target is reported', async (t) => {
    t.throws(
      () => createMounter().mount('/nowhere/volume', { sizeBytes: 4096, gid: undefined }),
      faulty('mount_failed', /\/nowhere\/volume: ENOENT/),
    )
  })

  t.test(
    'a link takes a page of the volume exactly from the length that the capacity check counts',
    async (t) => {
      const root = mountedVolume(t)
      const used = () => volumeStats(root).bytes.used
      symlinkSync('x'.repeat(127), join(root, 'short'))
      t.equal(used(), 0)
      symlinkSync('x'.repeat(128), join(root, 'long'))
      t.equal(used(), statSync(root).blksize)
    },
  )
})
