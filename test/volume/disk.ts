import { closeSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createDisk } from '../../src/volume/disk.ts'
import { temporaryDirectory } from '../harness/volume/volume.ts'

for (const isOldKernel of [false, true]) {
  t.test(`with ${isOldKernel ? 'openat' : 'openat2'}`, async (t) => {
    const disk = createDisk({ isOldKernel })

    t.test('no link is followed, whatever the operation', async (t) => {
      const [root, outside] = [temporaryDirectory(t), temporaryDirectory(t)]
      writeFileSync(join(outside, 'file'), 'of the node')
      symlinkSync(outside, join(root, 'directory'))
      symlinkSync(join(outside, 'file'), join(root, 'file'))
      symlinkSync(join(outside, 'new'), join(root, 'new'))
      const dir = disk.openVolume(root)
      t.throws(() => disk.openDirectory(dir, 'directory'), { code: /ELOOP|ENOTDIR/ })
      t.throws(() => disk.openToRead(dir, 'file'), { code: 'ELOOP' })
      t.throws(() => disk.openToWrite(dir, 'file'), { code: 'ELOOP' })
      t.throws(() => disk.create(dir, 'new'), { code: /EEXIST|ELOOP/ })
      t.throws(() => disk.mkdir(dir, 'new'), { code: 'EEXIST' })
      t.throws(() => disk.rmdir(dir, 'directory'), { code: 'ENOTDIR' })
      for (const name of ['directory', 'file', 'new']) disk.unlink(dir, name)
      disk.close(dir)
      t.strictSame(readdirSync(outside), ['file'])
      t.equal(readFileSync(join(outside, 'file'), 'utf8'), 'of the node')
      symlinkSync(outside, join(root, 'volume'))
      t.throws(() => disk.openVolume(join(root, 'volume')), { code: /ELOOP|ENOTDIR/ })
    })

    t.test('no other file system is entered', async (t) => {
      const dir = disk.openVolume('/')
      t.throws(() => disk.openDirectory(dir, 'proc'), { code: 'EXDEV', path: 'proc' })
      disk.close(dir)
    })

    t.test('paths, dots and NULs are refused as names', async (t) => {
      const root = temporaryDirectory(t)
      mkdirSync(join(root, 'a'))
      writeFileSync(join(root, 'a/b'), '')
      const dir = disk.openVolume(join(root, 'a'))
      for (const name of [
        '',
        '.',
        '..',
        '../a',
        'a/b',
        '/etc',
        'b\0',
        '\0',
        Buffer.from('a/b'),
        Buffer.from('..'),
      ]) {
        for (const call of [
          'openToRead',
          'openDirectory',
          'create',
          'unlink',
          'rmdir',
          'mkdir',
          'readlink',
        ] as const)
          t.throws(() => disk[call](dir, name), { code: 'EINVAL' }, `${call} of ${JSON.stringify(name)}`)
        t.throws(() => disk.rename(dir, 'b', dir, name), { code: 'EINVAL' })
        t.throws(() => disk.rename(dir, name, dir, 'c'), { code: 'EINVAL' })
        t.throws(() => disk.symlink('b', dir, name), { code: 'EINVAL' })
      }
      t.strictSame(readdirSync(join(root, 'a')), ['b'])
      disk.close(dir)
    })
  })
}

t.test('every name is listed with its kind, and can be deleted', async (t) => {
  const root = temporaryDirectory(t)
  const disk = createDisk()
  const dir = disk.openVolume(root)
  const odd = [Buffer.from([0xff]), Buffer.from([0x61, 0xc3]), Buffer.from([0xef, 0xbf, 0xbd, 0xff])]
  const plain = ['new\nline', '\ufffd', '🔒', 'x'.repeat(255), ' ', '-rf', '\\', '%s']
  for (const name of [...odd, ...plain]) closeSync(disk.create(dir, name))
  const listed = disk.list(dir)
  t.equal(listed.length, odd.length + plain.length)
  t.strictSame(
    listed.flatMap(({ name }) => (typeof name === 'string' ? [name] : [])).sort(),
    plain.toSorted(),
  )
  t.strictSame(
    listed.flatMap(({ name }) => (typeof name === 'string' ? [] : [name.toString('hex')])).sort(),
    odd.map((name) => name.toString('hex')).sort(),
  )
  t.ok(listed.every(({ kind }) => kind === 'file'))
  for (const { name } of listed) disk.unlink(dir, name)
  t.strictSame(disk.list(dir), [], 'a second listing begins at the beginning')
  disk.close(dir)
})

t.test('a directory of many entries is listed completely', async (t) => {
  const root = temporaryDirectory(t)
  const disk = createDisk()
  const dir = disk.openVolume(root)
  for (let count = 0; count < 3_000; count++) closeSync(disk.create(dir, `file-${count}`))
  t.equal(new Set(disk.list(dir).map(({ name }) => name)).size, 3_000, 'over several calls')
  disk.close(dir)
})
