import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createMounter, type MountCalls, parseMountinfo } from '../../src/volume/mount.ts'
import { MNT_DETACH, SyscallError } from '../../src/volume/syscalls.ts'
import { faulty } from '../harness/faulty.ts'

const EPERM = 1
const EBUSY = 16
const EINVAL = 22

/** A kernel with a number of mounts on one target that refuses what `refuse` names. */
function fakeKernel(refuse: { options?: RegExp; busyTimes?: number } = {}) {
  const kernel = { mounted: 0, options: [] as string[], unmountFlags: [] as number[] }
  let busyTimes = refuse.busyTimes ?? 0
  const syscalls: MountCalls = {
    mount(_source, _target, _fileSystem, _flags, options) {
      kernel.options.push(options)
      if (refuse.options?.test(options)) throw new SyscallError('mount', EINVAL)
      kernel.mounted++
    },
    unmount(_target, flags) {
      kernel.unmountFlags.push(flags)
      if (kernel.mounted === 0) throw new SyscallError('umount2', EINVAL)
      if (busyTimes-- > 0 && !(flags & MNT_DETACH)) throw new SyscallError('umount2', EBUSY)
      kernel.mounted--
    },
    mountOf: () => ({ isMountRoot: kernel.mounted > 0 }),
  }
  return { kernel, mounter: createMounter({ syscalls }) }
}

// A parent that exists, as kubelet makes it; the mounter makes and removes the target.
const parent = mkdtempSync(join(tmpdir(), 'vault-files-mounter-'))
const target = join(parent, 'volume')
t.teardown(() => rmSync(parent, { recursive: true }))

t.test('a kernel that takes noswap is asked for it each time', async (t) => {
  const { kernel, mounter } = fakeKernel()
  mounter.mount(target, { sizeBytes: 4096, gid: undefined })
  mounter.mount(target, { sizeBytes: 8192, gid: 2000 })
  t.strictSame(kernel.options, [
    'size=4096,nr_inodes=8192,mode=0755,noswap',
    'size=8192,nr_inodes=8192,mode=0755,gid=2000,noswap',
  ])
})

t.test('a kernel that refuses noswap is asked once', async (t) => {
  const { kernel, mounter } = fakeKernel({ options: /noswap/ })
  mounter.mount(target, { sizeBytes: 4096, gid: undefined })
  mounter.mount(target, { sizeBytes: 4096, gid: undefined })
  t.strictSame(
    kernel.options.map((options) => options.includes('noswap')),
    [true, false, false],
  )
})

t.test('a refused group is named and does not count against noswap', async (t) => {
  const { kernel, mounter } = fakeKernel({ options: /gid=/ })
  t.throws(
    () => mounter.mount(target, { sizeBytes: 4096, gid: 2000 }),
    faulty('mount_failed', /gid=2000.*\/volume.*EINVAL at mount\(2\)/),
  )
  kernel.options.length = 0
  mounter.mount(target, { sizeBytes: 4096, gid: undefined })
  t.strictSame(kernel.options, ['size=4096,nr_inodes=8192,mode=0755,noswap'])
})

t.test('unmount removes all stacked mounts, and a missing one is success', async (t) => {
  const { kernel, mounter } = fakeKernel()
  mounter.unmount(target)
  for (let times = 0; times < 3; times++) mounter.mount(target, { sizeBytes: 4096, gid: undefined })
  mounter.unmount(target)
  t.equal(kernel.mounted, 0)
})

t.test('a busy mount is tried once more', async (t) => {
  const { kernel, mounter } = fakeKernel({ busyTimes: 1 })
  mounter.mount(target, { sizeBytes: 4096, gid: undefined })
  mounter.unmount(target)
  t.equal(kernel.mounted, 0)
  t.notOk(kernel.unmountFlags.some((flags) => flags & MNT_DETACH))
})

t.test('a mount that stays busy is detached', async (t) => {
  const { kernel, mounter } = fakeKernel({ busyTimes: 99 })
  mounter.mount(target, { sizeBytes: 4096, gid: undefined })
  mounter.unmount(target)
  t.equal(kernel.mounted, 0)
  t.strictSame(
    kernel.unmountFlags.map((flags) => Boolean(flags & MNT_DETACH)),
    [false, false, true, false],
  )
})

t.test('a failed unmount is an error', async (t) => {
  const refused: MountCalls = {
    mount() {},
    unmount() {
      throw new SyscallError('umount2', EPERM)
    },
    mountOf: () => ({ isMountRoot: true }),
  }
  t.throws(
    () => createMounter({ syscalls: refused }).unmount(target),
    faulty('mount_failed', /\/volume: EPERM at umount2\(2\)/),
  )
  const locked: MountCalls = {
    ...refused,
    unmount() {
      throw new SyscallError('umount2', EINVAL)
    },
  }
  t.throws(() => createMounter({ syscalls: locked }).unmount('/proc'), faulty('mount_failed', /locked/))
})

t.test('the mounts of this process are listed', async (t) => {
  const mounter = createMounter()
  t.equal(mounter.list().get('/proc'), 'proc')
  t.ok(mounter.isMounted('/proc'))
  t.notOk(mounter.isMounted('/proc/self'))
  t.notOk(mounter.isMounted('/nowhere'))
})

t.test('mounting makes the directory, unmounting removes it', async (t) => {
  const { mounter } = fakeKernel()
  mounter.mount(target, { sizeBytes: 4096, gid: undefined })
  t.ok(existsSync(target))
  mounter.unmount(target)
  t.notOk(existsSync(target))
  mounter.unmount(target)
})

t.test('a directory that is not empty is not removed', async (t) => {
  const { mounter } = fakeKernel()
  mkdirSync(target)
  writeFileSync(join(target, 'foreign'), '')
  t.throws(() => mounter.unmount(target), faulty('mount_failed', /ENOTEMPTY/))
  t.ok(existsSync(join(target, 'foreign')))
})

t.test('a link in the place of the target is not mounted on', async (t) => {
  const { kernel, mounter } = fakeKernel()
  const outside = join(parent, 'outside')
  const link = join(parent, 'link')
  mkdirSync(outside)
  symlinkSync(outside, link)
  t.throws(
    () => mounter.mount(link, { sizeBytes: 4096, gid: undefined }),
    faulty('mount_failed', /link: (ELOOP|ENOTDIR)/),
  )
  t.strictSame(kernel.options, [])
})

t.test('a mount that does not appear at the target is an error', async (t) => {
  const calls: MountCalls = { mount() {}, unmount() {}, mountOf: () => ({ isMountRoot: false }) }
  t.throws(
    () =>
      createMounter({ syscalls: calls }).mount(join(parent, 'moved'), { sizeBytes: 4096, gid: undefined }),
    faulty('mount_failed', /was replaced while it was mounted on/),
  )
})

t.test('mounts are found on kernels that do not report mount roots', async (t) => {
  const calls: MountCalls = {
    mount() {},
    unmount() {},
    mountOf: (path) => (existsSync(path) ? { isMountRoot: undefined } : undefined),
  }
  const mounter = createMounter({ syscalls: calls })
  t.ok(mounter.isMounted('/proc'))
  t.notOk(mounter.isMounted('/proc/sys'))
  t.notOk(mounter.isMounted('/nowhere'))
})

t.test('only a tmpfs is resized', async (t) => {
  const { mounter } = fakeKernel()
  t.throws(() => mounter.resize('/proc', 4096), faulty('mount_failed', /size=4096 of \/proc: no tmpfs/))
  t.throws(() => mounter.resize('/nowhere', 4096), faulty('mount_failed', /ENOENT/))
})

t.test('mount points and types are read, with and without optional fields', async (t) => {
  const text = `22 1 0:21 / / rw,relatime - ext4 /dev/root rw
36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 propagate_from:2 - ext3 /dev/root rw,errors=continue
99 22 0:77 / /var/lib/kubelet/pods/1-2/volumes/x/mount rw,nosuid shared:9 - tmpfs vault-files-csi rw,size=4096k
`
  t.strictSame(
    [...parseMountinfo(text)],
    [
      ['/', 'ext4'],
      ['/mnt2', 'ext3'],
      ['/var/lib/kubelet/pods/1-2/volumes/x/mount', 'tmpfs'],
    ],
  )
})

t.test('octal escapes in mount points are decoded', async (t) => {
  const text = String.raw`1 2 0:1 / /a\040b\011c\012d\134e\043 rw - tmpfs x\040y rw`
  t.strictSame([...parseMountinfo(text).keys()], ['/a b\tc\nd\\e#'])
})

t.test('an escaped backslash before digits stays a backslash', async (t) => {
  t.strictSame([...parseMountinfo(String.raw`1 2 0:1 / /a\134040 rw - tmpfs x rw`).keys()], ['/a\\040'])
})

t.test('of stacked mounts the last one is returned', async (t) => {
  const text = '1 2 0:1 / /m rw - tmpfs x rw\n2 1 0:2 / /m rw - proc y rw\n'
  t.equal(parseMountinfo(text).get('/m'), 'proc')
})

t.test('mount points in other scripts are kept', async (t) => {
  t.strictSame([...parseMountinfo('1 2 0:1 / /том rw - tmpfs x rw').keys()], ['/том'])
})

t.test('an empty mountinfo has no mounts', async (t) => {
  t.equal(parseMountinfo('').size, 0)
})
