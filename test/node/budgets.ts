import t from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import { SecretBytes } from '../../src/core/secret.ts'
import { createBudget } from '../../src/node/budget.ts'
import { sizeFor } from '../../src/node/tmpfs-size.ts'
import { importSpec } from '../fakes/imports.ts'
import { faulty } from '../harness/faulty.ts'
import { MINUTE, NodeBench } from '../harness/node-bench.ts'

const KIB = 1024
const MIB = 1024 * KIB
const LEAST = 128 * KIB

function pod(namespace: string) {
  return { name: 'backend', namespace, uid: 'uid', serviceAccount: 'backend-sa' }
}

/** Two namespaces with an import each. */
function bench(settings: ConstructorParameters<typeof NodeBench>[1] = {}): NodeBench {
  const made = new NodeBench({}, settings)
  made.imports.put(importSpec({ namespace: 'other' }))
  return made
}

t.test('a volume is as large as its files need, and counts so', async (t) => {
  const made = bench()
  await made.publish()
  t.equal(made.node.sizes.get('/pods/volume-1/mount'), LEAST)
  t.equal(made.service.budget.reservedBytes(), LEAST)
  made.setPassword('x'.repeat(MIB))
  await made.publish({ volumeId: 'volume-2' })
  const large = made.node.sizes.get('/pods/volume-2/mount') ?? 0
  t.ok(large >= 4 * MIB - 64 * KIB && large <= 4 * MIB, `${large} bytes for two copies of 1 MiB`)
  t.equal(made.service.budget.reservedBytes(), LEAST + large)
  await made.unpublish('volume-2')
  t.equal(made.service.budget.reservedBytes(), LEAST)
})

t.test('beyond its own budget a namespace gets no more volumes, and others all of theirs', async (t) => {
  const made = bench({ maxNamespaceBytes: 10 * LEAST, maxNodeBytes: 20 * LEAST })
  for (let i = 0; i < 10; i++) await made.publish({ volumeId: `mine-${i}` })
  const reads = made.store.reads.length
  await t.rejects(made.publish({ volumeId: 'mine-10' }), {
    ...faulty('budget_exceeded'),
    status: 'RESOURCE_EXHAUSTED',
    message: /namespace "my-namespace1" may hold 1310720 bytes, .* 1441792.*--max-namespace-bytes/,
  })
  t.equal(made.store.reads.length, reads, 'Vault is not asked for what cannot come up')
  for (let i = 0; i < 10; i++) await made.publish({ volumeId: `theirs-${i}`, pod: pod('other') })
  await made.unpublish('mine-3')
  await made.publish({ volumeId: 'mine-11' })
  t.equal(made.content('mine-11'), 'one')
})

t.test('beyond the budget of the node no volume gets more', async (t) => {
  const made = bench({ maxNamespaceBytes: 2 * LEAST, maxNodeBytes: 3 * LEAST })
  for (const volumeId of ['a', 'b']) await made.publish({ volumeId })
  await made.publish({ volumeId: 'c', pod: pod('other') })
  await t.rejects(made.publish({ volumeId: 'd', pod: pod('other') }), {
    ...faulty('budget_exceeded'),
    message: /this node may hold 393216 bytes.*--max-node-bytes/,
  })
})

t.test('a failed first publish gives its bytes back', async (t) => {
  const made = bench({ maxNamespaceBytes: LEAST })
  made.setPassword('x'.repeat(200 * KIB))
  for (let i = 0; i < 3; i++) {
    await t.rejects(made.publish(), faulty('budget_exceeded'))
    t.equal(made.service.budget.reservedBytes(), 0)
  }
  t.equal(made.node.mounts.size, 0)
  made.setPassword('small')
  made.store.failWith = new FaultError('unreachable')
  await t.rejects(made.publish(), faulty('unreachable'))
  t.equal(made.service.budget.reservedBytes(), 0)
})

t.test('a rotation that would grow beyond the budget leaves the files as they are', async (t) => {
  const made = bench({ maxNamespaceBytes: MIB })
  await made.publish()
  made.setPassword('x'.repeat(300 * KIB))
  await made.clock.advance(3 * MINUTE)
  t.equal(made.content(), 'one')
  t.same(made.notifier.events, ['backend failed budget_exceeded'])
  t.equal(made.service.volumes.countByState().stale, 1)
  t.equal(made.service.budget.reservedBytes(), LEAST)
  made.setPassword('y'.repeat(100 * KIB))
  await made.clock.advance(15 * MINUTE)
  t.equal(made.content()?.length, 100 * KIB)
  const size = made.node.sizes.get('/pods/volume-1/mount') ?? 0
  t.ok(size >= 200 * KIB, `${size} bytes`)
  t.equal([...made.ledger.entries.values()][0]?.sizeBytes, size, 'a later process counts the same')
})

t.test('a volume that cannot be made larger keeps its files and its count', async (t) => {
  const made = bench()
  await made.publish()
  made.node.failResizeWith = new FaultError('mount_failed')
  made.setPassword('x'.repeat(100 * KIB))
  await made.clock.advance(3 * MINUTE)
  t.equal(made.content(), 'one')
  t.equal(made.service.budget.reservedBytes(), LEAST)
})

t.test('files that shrink give their room back', async (t) => {
  const made = bench()
  made.setPassword('x'.repeat(MIB))
  await made.publish()
  made.setPassword('small')
  await made.clock.advance(3 * MINUTE)
  t.equal(made.node.sizes.get('/pods/volume-1/mount'), LEAST)
  t.equal(made.service.budget.reservedBytes(), LEAST)
})

t.test('a later process counts what it finds, and lets no volume go beyond', async (t) => {
  const made = bench({ maxNamespaceBytes: 2 * LEAST })
  for (const volumeId of ['a', 'b']) await made.publish({ volumeId })
  await made.restart()
  t.equal(made.service.budget.reservedBytes(), 2 * LEAST)
  await t.rejects(made.publish({ volumeId: 'c' }), faulty('budget_exceeded'))
  await made.unpublish('a')
  await made.publish({ volumeId: 'c' })
})

t.test('volumes of an earlier plugin, each of the full size, count until they are refreshed', async (t) => {
  const made = bench()
  await made.publish()
  for (const entry of made.ledger.entries.values()) entry.sizeBytes = 4 * MIB
  await made.restart()
  t.equal(made.service.budget.reservedBytes(), 4 * MIB)
  await made.publish()
  await made.clock.advance(3 * MINUTE)
  t.equal(made.service.budget.reservedBytes(), LEAST)
})

t.test('a volume that the ledger does not know counts what its tmpfs may hold', async (t) => {
  const made = bench({ maxNamespaceBytes: 512 * KIB, maxVolumeBytes: 512 * KIB })
  await made.publish()
  made.ledger.entries.clear()
  await made.restart()
  await made.publish()
  t.equal(made.service.budget.reservedBytes(), MIB, 'beyond the budget, for a pod runs on it')
  await made.clock.advance(1_000)
  t.equal(made.service.budget.reservedBytes(), LEAST)
})

t.test('whatever is reserved and released, the sums are those of what is left', async (t) => {
  const budget = createBudget({ maxNodeBytes: 1000, maxNamespaceBytes: 600 })
  const owner = (namespace: string, targetPath: string) => ({ targetPath, pod: { namespace } })
  budget.reserve(owner('a', '/1'), 600)
  t.throws(() => budget.reserve(owner('a', '/2'), 1), faulty('budget_exceeded'))
  budget.reserve(owner('b', '/3'), 400)
  t.throws(() => budget.reserve(owner('c', '/4'), 1), faulty('budget_exceeded'))
  budget.reserve(owner('a', '/1'), 100)
  t.equal(budget.reservedBytes(), 500)
  budget.release('/1')
  budget.release('/1')
  budget.count(owner('d', '/5'), 5000)
  budget.reserve(owner('d', '/5'), 4000)
  t.equal(budget.reservedBytes(), 4400)
  budget.release('/3')
  budget.release('/5')
  t.equal(budget.reservedBytes(), 0)
})

t.test('sizes are of whole pages, of both copies, of links and of inodes', async (t) => {
  const of = { updateMode: 'Live', pageBytes: 4096, maxVolumeBytes: 64 * MIB } as const
  const file = (bytes: number, name = 'f') => ({ name, content: new SecretBytes(Buffer.alloc(bytes)) })
  t.same(sizeFor([], of), { needed: 0, wanted: LEAST })
  t.equal(sizeFor([file(1), file(4097)], of).needed, 2 * 3 * 4096)
  t.equal(sizeFor([file(1), file(4097)], { ...of, updateMode: 'InPlace' }).needed, 3 * 4096)
  t.equal(sizeFor([file(1)], { ...of, pageBytes: 65_536 }).needed, 2 * 65_536)
  t.equal(sizeFor([file(0, 'n'.repeat(200))], of).needed, 4096)
  const empty = Array.from({ length: 1000 }, () => file(0))
  t.ok(sizeFor(empty, of).wanted >= 3 * MIB, 'a thousand empty files are no small thing for the kernel')
  t.equal(sizeFor([file(64 * MIB)], of).wanted, 64 * MIB)
})
