import t from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import { MINUTE, NodeBench } from '../harness/node-bench.ts'

t.test('a restart takes mounted volumes up again and asks Vault only with the next token', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  const before = bench.store.reads.length
  await bench.restart()
  await bench.clock.advance(10 * MINUTE)
  t.equal(bench.store.reads.length, before)
  t.equal(bench.service.volumes.countByState().resumed, 1)

  bench.setPassword('two')
  await bench.publish()
  await bench.clock.advance(100)
  t.equal(bench.content(), 'two')
  t.equal(bench.service.volumes.countByState().inSync, 1)
})

t.test('a republish after a restart succeeds and keeps the files while Vault is away', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  await bench.restart()
  bench.store.failWith = new FaultError('unreachable')
  await bench.publish()
  await bench.clock.advance(10 * MINUTE)
  t.equal(bench.content(), 'one')
})

t.test(
  'a volume killed between mount and write is removed, and the next publish delivers files',
  async (t) => {
    const bench = new NodeBench()
    await bench.publish()
    const entry = bench.ledger.load()[0]!
    bench.ledger.put({ ...entry, phase: 'mounting' })
    bench.node.mounts.get(entry.targetPath)?.clear()
    await bench.restart()
    t.equal(bench.node.mounts.size, 0)
    await bench.publish()
    t.equal(bench.content(), 'one')
  },
)

t.test('a complete entry whose files are not complete is removed', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  bench.node.mounts.get('/pods/volume-1/mount')?.clear()
  await bench.restart()
  t.equal(bench.node.mounts.size, 0)
  t.equal(bench.ledger.entries.size, 0)
})

t.test('after a reboot everything is forgotten and published again', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  bench.node.mounts.clear()
  await bench.restart()
  t.equal(bench.ledger.entries.size, 0)
  await bench.publish()
  t.equal(bench.content(), 'one')
})

t.test('one volume that cannot be resumed does not keep the others back', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  await bench.publish({ volumeId: 'volume-2' })
  bench.node.mounter.list = () => new Map()
  bench.node.mounter.isMounted = (targetPath) => {
    if (targetPath.includes('volume-1')) throw new FaultError('mount_failed', { reason: 'EMFILE' })
    return bench.node.mounts.has(targetPath)
  }
  await bench.restart()
  t.equal(bench.service.volumes.countByState().resumed, 1)
  t.match(bench.log.messages('error'), ['a volume could not be resumed'])
})

t.test('unpublish of a resumed volume removes it', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  await bench.restart()
  await bench.unpublish()
  t.equal(bench.node.mounts.size, 0)
  t.equal(bench.ledger.entries.size, 0)
})

t.test('files that cannot be repaired after a restart stay, and a republish succeeds', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  const { repair } = bench.node.files
  bench.node.files.repair = async () => {
    throw new FaultError('volume_io', { reason: 'ENOSPC at write' })
  }
  await bench.restart()
  bench.store.failWith = new FaultError('unreachable')
  await bench.publish()
  t.equal(bench.content(), 'one')

  bench.node.files.repair = repair
  bench.store.failWith = undefined
  bench.setPassword('two')
  await bench.clock.advance(10 * MINUTE)
  t.equal(bench.content(), 'two')
})

t.test('a volume under a directory that is reached through a link is resumed, not unmounted', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  bench.node.mounter.list = () => new Map([['/elsewhere/volume-1/mount', 'tmpfs']])
  await bench.restart()
  t.equal(bench.content(), 'one')
  t.equal(bench.service.volumes.countByState().resumed, 1)
})
