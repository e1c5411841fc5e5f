import t from 'tap'
import { volumeStats } from '../../src/volume/stats.ts'
import { faulty } from '../harness/faulty.ts'
import { temporaryDirectory } from '../harness/volume/volume.ts'

t.test('bytes and inodes are reported with their totals', async (t) => {
  const { bytes, inodes } = volumeStats(temporaryDirectory(t))
  t.ok(bytes.total > 0)
  t.ok(bytes.used >= 0 && bytes.used <= bytes.total)
  t.ok(bytes.available <= bytes.total)
  t.equal(inodes.used + inodes.available, inodes.total)
})

t.test('a missing path is volume_not_found', async (t) => {
  t.throws(() => volumeStats('/nowhere/volume'), faulty('volume_not_found', /\/nowhere\/volume/))
})
