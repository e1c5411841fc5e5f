import t from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import { NodeBench } from '../harness/node-bench.ts'

t.test('unpublish leaves nothing mounted, nothing in the ledger and revokes the last token', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  await bench.unpublish()
  t.equal(bench.node.mounts.size, 0)
  t.equal(bench.ledger.entries.size, 0)
  t.equal(bench.store.revoked.length, 1)
  t.equal(bench.clock.waiting, 0, 'no timer is left')
})

t.test('the token of an identity lives until its last volume goes', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  await bench.publish({ volumeId: 'volume-2' })
  await bench.unpublish('volume-1')
  t.equal(bench.store.revoked.length, 0)
  await bench.unpublish('volume-2')
  t.equal(bench.store.revoked.length, 1)
})

t.test('a volume that is already gone is success', async (t) => {
  const bench = new NodeBench()
  await bench.unpublish()
  await bench.publish()
  await bench.unpublish()
  await bench.unpublish()
  t.equal(bench.meter.count('unpublished ok'), 3)
})

t.test('a volume id that is not the one mounted there leaves the other volume as it is', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  await bench.unpublish('volume-0', '/pods/volume-1/mount')
  t.equal(bench.content(), 'one')
})

t.test(
  'an unpublish does not wait for a refresh that Vault holds up, and the refresh writes nothing after it',
  async (t) => {
    const bench = new NodeBench()
    await bench.publish()
    let answer = () => {}
    bench.store.held = new Promise((resolve) => {
      answer = resolve
    })
    await bench.clock.advance(3 * 60_000)
    t.equal(bench.store.reads.length, 2, 'the refresh is under way')
    await bench.unpublish()
    answer()
    await bench.clock.advance(60 * 60_000)
    t.equal(bench.node.mounts.size, 0)
    t.equal(bench.store.users.size, 0)
    t.equal(bench.store.reads.length, 2)
  },
)

t.test('a refresh that began before an unpublish and fails after it keeps no Vault token', async (t) => {
  const bench = new NodeBench({ caCertRef: { kind: 'ConfigMap', name: 'vault-ca', key: 'ca.crt' } })
  await bench.publish()
  const { promise, resolve } = Promise.withResolvers<string>()
  bench.caCert = () => promise
  await bench.clock.advance(3 * 60_000)
  await bench.unpublish()
  bench.store.failWith = new FaultError('unreachable')
  resolve('PEM')
  await bench.clock.advance(1_000)
  t.equal(bench.store.reads.length, 2, 'the refresh went on')
  t.equal(bench.store.users.size, 0)
})
