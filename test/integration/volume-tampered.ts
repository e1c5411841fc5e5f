import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { UpdateMode } from '../../src/core/imports/import.ts'
import { createClock } from '../../src/ops/clock.ts'
import { createMounter } from '../../src/volume/mount.ts'
import { createVolumeFiles } from '../../src/volume/volume-files.ts'
import { faulty } from '../harness/faulty.ts'
import { measureHolds } from '../harness/measure/loop-holds.ts'
import { mayMount, mountedVolume } from '../harness/volume/tmpfs.ts'
import { inode, readByPath, rendered } from '../harness/volume/volume.ts'

const sizeBytes = 4 << 20
const skip = !mayMount() && 'needs mount rights'
const script = join(import.meta.dirname, '../harness/volume/tamper.py')

function setUp(t: Test, updateMode: UpdateMode = 'Live') {
  const root = mountedVolume(t, { sizeBytes })
  const shape = { updateMode, gid: undefined, sizeBytes }
  const volume = createVolumeFiles({ clock: createClock(), graceMs: 1 })
  const set = (password: string) => ({ password, user: 'app' })
  return {
    root,
    shape,
    volume,
    set,
    apply: (password: string) => volume.apply(root, shape, rendered(set(password))),
    tamper: (deed: string) => execFileSync('python3', [script, deed, root]),
  }
}

/** What stands at the top of a volume in order, beside the two files. */
const OWN = { Live: ['..data', '..slot-a', '..slot-b'], InPlace: [] }

t.test('a container that is root and writes to its volume', { skip }, async (t) => {
  for (const updateMode of ['Live', 'Atomic', 'InPlace'] as const) {
    t.test(`a file larger than the volume is never read (${updateMode})`, async (t) => {
      const { root, shape, volume, set, apply, tamper } = setUp(t, updateMode)
      await apply('one')
      tamper('sparse')
      const before = process.memoryUsage.rss()
      t.equal(await volume.repair(root, shape), true, 'as after a restart')
      await apply('two')
      const grown = process.memoryUsage.rss() - before
      t.ok(grown < 64 << 20, `the process grew by ${grown >> 20} MiB`)
      t.strictSame(readByPath(root), set('two'))
    })
  }

  t.test('the two inodes of a file stay though a container made it huge', async (t) => {
    const { root, set, apply, tamper } = setUp(t)
    await apply('one')
    const inodes = ['..slot-a', '..slot-b'].map((slot) => inode(join(root, slot, 'password')))
    tamper('sparse')
    await apply('two')
    t.strictSame(
      ['..slot-a', '..slot-b'].map((slot) => inode(join(root, slot, 'password'))),
      inodes,
    )
    t.strictSame(readByPath(root), set('two'))
  })

  for (const deed of ['full', 'deep', 'names', 'kinds', 'links', 'modes', 'away']) {
    for (const updateMode of ['Live', 'InPlace'] as const) {
      if (updateMode === 'InPlace' && !['full', 'deep', 'names'].includes(deed)) continue
      t.test(`${deed}: the next rotation puts the volume right (${updateMode})`, async (t) => {
        const { root, set, apply, tamper } = setUp(t, updateMode)
        await apply('one')
        tamper(deed)
        const longest = measureHolds()
        await apply('a longer second')
        const heldMs = longest()
        t.strictSame(readByPath(root), set('a longer second'))
        t.strictSame(readdirSync(root).sort(), [...OWN[updateMode], 'password', 'user'])
        for (const slot of readdirSync(root).filter((name) => name.startsWith('..slot')))
          t.strictSame(readdirSync(join(root, slot)).sort(), ['password', 'user'])
        t.comment(`the event loop was held for ${heldMs.toFixed(0)} ms at most`)
        t.ok(heldMs < 100, `the event loop was held for ${heldMs.toFixed(0)} ms at most`)
      })
    }
  }

  t.test('wiping a volume of many entries takes no long time, and unmounting takes the rest', async (t) => {
    const { root, volume, apply, tamper } = setUp(t)
    await apply('one')
    tamper('deep')
    const began = performance.now()
    volume.wipe(root)
    const tookMs = performance.now() - began
    t.ok(tookMs < 100, `${tookMs.toFixed(0)} ms`)
    createMounter().unmount(root)
    t.notOk(createMounter().isMounted(root))
  })

  t.test('what is mounted inside is neither entered nor emptied', async (t) => {
    const { root, volume, set, apply } = setUp(t)
    const outside = mkdtempSync(join(tmpdir(), 'vault-files-outside-'))
    t.teardown(() => rmSync(outside, { recursive: true, force: true }))
    writeFileSync(join(outside, 'host-file'), 'of the node')
    await apply('one')
    mkdirSync(join(root, 'inside'))
    execFileSync('mount', ['--bind', outside, join(root, 'inside')])
    execFileSync('mount', ['--bind', join(outside, 'host-file'), join(root, '..slot-b/password')])
    await t.rejects(apply('two'), faulty('volume_io', /EXDEV|EBUSY/))
    volume.wipe(root)
    t.equal(readFileSync(join(outside, 'host-file'), 'utf8'), 'of the node')
    execFileSync('umount', [join(root, 'inside')])
    execFileSync('umount', [join(root, '..slot-b/password')])
    await apply('two')
    t.strictSame(readByPath(root), set('two'))
    mkdirSync(join(root, 'inside'))
    execFileSync('mount', ['--bind', outside, join(root, 'inside')])
    createMounter().unmount(root)
    t.notOk(createMounter().isMounted(root), 'unmounting takes what is mounted inside off with it')
    t.equal(readFileSync(join(outside, 'host-file'), 'utf8'), 'of the node')
  })

  t.test('files made immutable are a fault, until they are not, and unmounting works', async (t) => {
    const { root, set, apply, tamper } = setUp(t)
    await apply('one')
    try {
      tamper('immutable')
    } catch {
      t.comment('this kernel knows no immutable files on tmpfs, or we may not make any')
      return
    }
    await t.rejects(apply('two'), faulty('volume_io', /EPERM/))
    tamper('mutable')
    await apply('two')
    t.strictSame(readByPath(root), set('two'))
    tamper('immutable')
    createMounter().unmount(root)
    t.notOk(createMounter().isMounted(root))
  })

  t.test('a lease on a file is not waited for', async (t) => {
    const { root, apply } = setUp(t)
    await apply('one')
    const holder = spawn('python3', [script, 'lease', root], { stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => holder.kill('SIGKILL'))
    await once(holder.stdout, 'data')
    const began = performance.now()
    await t.rejects(apply('two'), faulty('volume_io', /EAGAIN at openat2 of password/))
    t.ok(performance.now() - began < 5_000)
    holder.kill('SIGKILL')
    await once(holder, 'close')
    await t.resolves(apply('two'))
  })
})
