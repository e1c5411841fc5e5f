import t from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import type { ImportSpec } from '../../src/core/imports/import.ts'
import { fileSpec, importSpec } from '../fakes/imports.ts'
import { faulty } from '../harness/faulty.ts'
import { MINUTE, NodeBench } from '../harness/node-bench.ts'

const allowed = { allowSecretSync: true, allowTokenExport: true }
const synced = (file = 'db-password'): Partial<ImportSpec> => ({
  secretSync: [
    { name: 'app-secret', type: 'Opaque', deletionPolicy: 'Delete', data: [{ key: 'PASSWORD', file }] },
  ],
})

const last = (bench: NodeBench) => bench.synced.at(-1)?.[0]
const password = (bench: NodeBench) => last(bench)?.data.get('PASSWORD')?.reveal().toString()

t.test('a Secret is there before the container can start, and follows each rotation', async (t) => {
  const bench = new NodeBench(synced(), allowed)
  await bench.publish()
  t.match(last(bench), {
    namespace: 'my-namespace1',
    name: 'app-secret',
    importName: 'python-backend',
    isPerVolume: false,
  })
  t.equal(password(bench), 'one')
  bench.setPassword('two')
  await bench.clock.advance(3 * MINUTE)
  t.equal(password(bench), 'two')
})

t.test('each refresh syncs it again, with the time of the fetch', async (t) => {
  const bench = new NodeBench(synced(), allowed)
  await bench.publish()
  const first = last(bench)?.fetchedAt ?? 0
  await bench.clock.advance(10 * MINUTE)
  t.ok(bench.synced.length >= 4, `${bench.synced.length} times`)
  t.ok((last(bench)?.fetchedAt ?? 0) > first)
  t.equal(password(bench), 'one')
})

t.test('a Secret that cannot be had refuses a first publish, and nothing stays of it', async (t) => {
  const bench = new NodeBench(synced(), allowed)
  bench.failSyncWith = new FaultError('sync_refused', { secret: 'my-namespace1/app-secret' })
  await t.rejects(bench.publish(), faulty('sync_refused'))
  t.equal(bench.node.mounts.size, 0)
})

t.test('later the files go on without it, and the pod gets one event', async (t) => {
  const bench = new NodeBench(synced(), allowed)
  await bench.publish()
  bench.failSyncWith = new FaultError('sync_unavailable', { secret: 'my-namespace1/app-secret' })
  bench.setPassword('two')
  await bench.clock.advance(10 * MINUTE)
  t.equal(bench.content(), 'two')
  t.same(
    bench.notifier.events.filter((line) => /failed/.test(line)),
    ['backend failed sync_unavailable'],
  )
  bench.failSyncWith = undefined
  await bench.clock.advance(6 * MINUTE)
  t.ok(bench.notifier.events.includes('backend recovered'))
})

t.test('a Secret that is refused for ever slows the files down no more than before', async (t) => {
  const bench = new NodeBench(synced(), allowed)
  await bench.publish()
  bench.failSyncWith = new FaultError('sync_refused', { secret: 'my-namespace1/app-secret' })
  await bench.clock.advance(60 * MINUTE)
  bench.setPassword('two')
  await bench.clock.advance(2.5 * MINUTE)
  t.equal(bench.content(), 'two')
})

t.test('a Secret made from leases of one pod says so', async (t) => {
  const bench = new NodeBench(
    {
      ...synced('vault-token'),
      credentials: [{ format: 'Token', name: 'vault-token', mode: 0o400, role: 'r', authPath: 'approle' }],
    },
    allowed,
  )
  await bench.publish()
  t.equal(last(bench)?.isPerVolume, true)
  t.equal(password(bench), 'own-1')
})

t.test('a file that is absent leaves its key out', async (t) => {
  const bench = new NodeBench({ ...synced(), files: [fileSpec({ key: 'none', optional: true })] }, allowed)
  await bench.publish()
  t.equal(last(bench)?.data.size, 0)
})

t.test('an import without secretSync asks for nothing', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  await bench.clock.advance(10 * MINUTE)
  t.equal(bench.synced.length, 0)
})

t.test('credentials and synced Secrets need the flag of the cluster admin', async (t) => {
  const credentials = [
    { format: 'Token', name: 'vault-token', mode: undefined, role: 'r', authPath: 'approle' },
  ] as const
  for (const [spec, flag] of [
    [synced(), /--allow-secret-sync/],
    [{ credentials }, /--allow-token-export/],
  ] as const) {
    const bench = new NodeBench(spec)
    await t.rejects(bench.publish(), faulty('policy_refused', flag))
  }
  const bench = new NodeBench(importSpec({ credentials: [{ ...credentials[0], format: 'CABundle' }] }))
  bench.store.defaultCa = 'PEM'
  await bench.publish()
  t.equal(bench.content('volume-1', 'vault-token'), 'PEM')
  bench.store.defaultCa = 'PEM of tomorrow'
  await bench.clock.advance(3 * MINUTE)
  t.equal(bench.content('volume-1', 'vault-token'), 'PEM of tomorrow')
})
