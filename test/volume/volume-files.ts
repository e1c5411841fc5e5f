import { rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createVolumeFiles } from '../../src/volume/volume-files.ts'
import { FakeClock } from '../fakes/clock.ts'
import { owner, rendered, temporaryDirectory } from '../harness/volume/volume.ts'

for (const updateMode of ['Live', 'InPlace', 'Atomic'] as const) {
  t.test(`files of ${updateMode} are recognized`, async (t) => {
    const root = temporaryDirectory(t)
    const volume = createVolumeFiles({ clock: new FakeClock(0), graceMs: 50, owner })
    t.equal(volume.found(root), undefined, 'an empty directory')
    const shape = { updateMode, gid: undefined, sizeBytes: 64 << 10 }
    await volume.apply(root, shape, rendered({ password: 'one' }))
    t.equal(volume.found(root), updateMode)
    t.equal(await volume.repair(root, shape), true)
    volume.wipe(root)
    t.equal(volume.found(root), undefined)
  })
}

t.test('an incomplete set of files has no update mode', async (t) => {
  const root = temporaryDirectory(t)
  const volume = createVolumeFiles({ clock: new FakeClock(0), graceMs: 50, owner })
  await volume.apply(root, { updateMode: 'Live', gid: undefined, sizeBytes: 64 << 10 }, rendered({ a: '1' }))
  rmSync(join(root, '..data'))
  t.equal(volume.found(root), undefined)
  symlinkSync('nowhere', join(root, 'b'))
  t.equal(volume.found(root), undefined)
  t.equal(volume.found(join(root, 'not-there')), undefined)
})
