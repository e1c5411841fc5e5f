import t from 'tap'
import type { Fault } from '../../src/core/faults/facts.ts'
import { FaultError } from '../../src/core/faults/fault.ts'
import { faulty } from '../harness/faulty.ts'
import { NodeBench, PATH } from '../harness/node-bench.ts'

t.test('a first publish reads Vault, mounts and writes', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  t.equal(bench.content(), 'one')
  t.same(bench.store.reads, [PATH])
  t.equal([...bench.ledger.entries.values()][0]?.phase, 'complete')
  t.equal(bench.meter.count('published ok'), 1)
  t.same(bench.service.volumes.countByState(), { inSync: 1, stale: 0, resumed: 0 })
})

t.test('a repeated publish touches nothing and does not ask Vault', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  bench.store.failWith = new FaultError('unreachable')
  for (let i = 0; i < 3; i++) await bench.publish()
  t.equal(bench.store.reads.length, 1)
  t.equal(bench.node.writes.length, 1)
})

t.test('the same publish twice at once mounts once', async (t) => {
  const bench = new NodeBench()
  await Promise.all([bench.publish(), bench.publish()])
  t.equal(bench.node.writes.length, 1)
})

t.test('other arguments for a published target are refused', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  await t.rejects(bench.publish({ fingerprint: 'other' }), faulty('already_exists'))
  await t.rejects(
    bench.publish({ volumeId: 'volume-2', targetPath: '/pods/volume-1/mount' }),
    faulty('already_exists', /volume-1/),
  )
  t.equal(bench.content(), 'one')
})

t.test('a failed first publish leaves nothing behind', async (t) => {
  const cases: [string, (bench: NodeBench) => void, Fault][] = [
    ['Vault away', (bench) => (bench.store.failWith = new FaultError('unreachable')), 'unreachable'],
    ['key missing', (bench) => bench.store.data.set(PATH, { other: 'x' }), 'key_missing'],
    ['path missing', (bench) => bench.store.data.clear(), 'path_not_found'],
    ['write failing', (bench) => (bench.node.failWriteWith = new FaultError('volume_full')), 'volume_full'],
    ['no import', (bench) => bench.imports.delete('my-namespace1', 'python-backend'), 'import_not_found'],
  ]
  for (const [name, breakIt, fault] of cases) {
    const bench = new NodeBench()
    breakIt(bench)
    await t.rejects(bench.publish(), faulty(fault), name)
    t.equal(bench.node.mounts.size, 0, `${name}: nothing mounted`)
    t.equal(bench.ledger.entries.size, 0, `${name}: nothing in the ledger`)
    t.equal(bench.store.users.size, 0, `${name}: no token kept`)
    t.equal(bench.meter.count(`published ${fault}`), 1, `${name}: counted by fault`)
  }
})

t.test('a fault found after reading still names the identity', async (t) => {
  const bench = new NodeBench()
  bench.store.data.set(PATH, { user: 'x' })
  await t.rejects(bench.publish(), { message: /my-namespace1_backend.*my-namespace1\/backend-sa/ })
})

t.test('a volume whose mount another program removed is published again', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  bench.node.mounts.clear()
  await bench.publish()
  t.equal(bench.content(), 'one')
  t.match(bench.log.messages('warn'), ['the mount of a known volume is gone, publishing it again'])
})

t.test('a mounted volume that a lost ledger does not know is adopted with its files', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  bench.ledger.entries.clear()
  await bench.restart()
  bench.store.failWith = new FaultError('unreachable')
  await bench.publish()
  t.equal(bench.content(), 'one')
  t.equal(bench.ledger.entries.size, 1)
})

t.test('a mount without complete files that a lost ledger does not know is replaced', async (t) => {
  const bench = new NodeBench()
  bench.node.mounter.mount('/pods/volume-1/mount', { sizeBytes: 1, gid: undefined })
  await bench.publish()
  t.equal(bench.content(), 'one')
})

t.test('after stop nothing new begins', async (t) => {
  const bench = new NodeBench()
  await bench.service.stop()
  await t.rejects(bench.publish(), faulty('shutting_down'))
})

t.test('stats know only the volume that is mounted there', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  t.equal(
    bench.service.stats({ volumeId: 'volume-1', volumePath: '/pods/volume-1/mount' }).bytes.total,
    1 << 20,
  )
  t.throws(
    () => bench.service.stats({ volumeId: 'volume-2', volumePath: '/pods/volume-1/mount' }),
    faulty('volume_not_found'),
  )
  t.throws(
    () => bench.service.stats({ volumeId: 'volume-1', volumePath: 'relative' }),
    faulty('volume_not_found'),
  )
})

t.test("an import's own audience is asked for when kubelet's tokens lack it, and only then", async (t) => {
  const bench = new NodeBench({ audience: 'own' })
  await bench.publish()
  t.equal(bench.content(), 'one')
  t.same(bench.requested, ['own'])
  await bench.publish({ volumeId: 'volume-2', tokens: new Map([['own', bench.token()]]) })
  t.equal(bench.requested.length, 1)
})

t.test('an audience that cannot be issued is reported as a missing token', async (t) => {
  const bench = new NodeBench({ audience: 'unknown' })
  await t.rejects(bench.publish(), faulty('token_missing'))
})

t.test('a republish succeeds although the mount cannot be checked', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  bench.node.mounter.isMounted = () => {
    throw Object.assign(new Error('too many open files'), { code: 'EMFILE' })
  }
  await bench.publish()
  t.equal(bench.content(), 'one')
  t.equal(bench.node.writes.length, 1)
})

t.test('a first publish that cannot mount deletes nothing that was there', async (t) => {
  const bench = new NodeBench()
  let wiped = 0
  bench.node.files.wipe = () => {
    wiped += 1
  }
  bench.node.mounter.mount = () => {
    throw new FaultError('mount_failed')
  }
  await t.rejects(bench.publish(), faulty('mount_failed'))
  t.equal(wiped, 0)
  t.equal(bench.ledger.entries.size, 0)
})
