import t from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import { fileSpec, importSpec } from '../fakes/imports.ts'
import { MINUTE, NodeBench, PATH, seededRandom } from '../harness/node-bench.ts'

t.test('a changed secret changes the file within the interval and its jitter', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  bench.setPassword('two')
  await bench.clock.advance(2.2 * MINUTE)
  t.equal(bench.content(), 'two')
  t.same(bench.notifier.events, ['backend rotated db-password'])
})

t.test('an unchanged secret writes and reports nothing', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  await bench.clock.advance(60 * MINUTE)
  t.equal(bench.node.writes.length, 1)
  t.same(bench.notifier.events, [])
  t.ok(bench.store.reads.length > 25, `${bench.store.reads.length} reads`)
})

t.test('a thousand volumes of one identity share one read in an interval', async (t) => {
  const bench = new NodeBench()
  bench.random = seededRandom()
  for (let i = 0; i < 1000; i++) {
    await bench.publish({ volumeId: `volume-${i}` })
  }
  await bench.clock.advance(10 * MINUTE)
  const before = bench.store.reads.length
  await bench.clock.advance(20 * MINUTE)
  const perInterval = (bench.store.reads.length - before) / 10
  t.ok(perInterval >= 0.9 && perInterval <= 1.2, `${perInterval} reads in an interval`)
})

t.test('a change that one volume reads reaches all volumes of the identity at once', async (t) => {
  const bench = new NodeBench()
  for (let i = 0; i < 50; i++) await bench.publish({ volumeId: `volume-${i}` })
  await bench.clock.advance(10 * MINUTE)
  bench.setPassword('two')
  await bench.publish({ volumeId: 'new' })
  await bench.clock.advance(2_000)
  for (let i = 0; i < 50; i++) t.equal(bench.content(`volume-${i}`), 'two')
})

t.test('whatever Vault does, the last good files stay; failure and recovery are reported once', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  bench.store.failWith = new FaultError('unreachable', { address: 'https://vault.example.org' })
  await bench.clock.advance(30 * MINUTE)
  t.equal(bench.content(), 'one')
  t.same(bench.notifier.events, ['backend failed unreachable'])
  t.same(bench.service.volumes.countByState(), { inSync: 0, stale: 1, resumed: 0 })
  t.ok(bench.service.volumes.oldestSyncSeconds(bench.clock.monotonic()) > 25 * 60)
  const tries = bench.store.reads.length
  t.ok(tries > 8 && tries < 20, `${tries} tries in 30 minutes`)

  bench.store.failWith = undefined
  bench.setPassword('two')
  await bench.clock.advance(6 * MINUTE)
  t.equal(bench.content(), 'two')
  t.same(bench.notifier.events.slice(1), ['backend recovered', 'backend rotated db-password'])
  t.equal(bench.service.volumes.countByState().inSync, 1)
})

t.test('another fault of the same volume is reported again', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  bench.store.failWith = new FaultError('unreachable')
  await bench.clock.advance(10 * MINUTE)
  bench.store.failWith = new FaultError('read_denied', { path: PATH })
  await bench.clock.advance(30 * MINUTE)
  t.same(bench.notifier.events, ['backend failed unreachable', 'backend failed read_denied'])
})

t.test('volumes of one identity share a failure and its backoff', async (t) => {
  const bench = new NodeBench()
  bench.random = seededRandom()
  for (let i = 0; i < 100; i++) await bench.publish({ volumeId: `volume-${i}` })
  await bench.clock.advance(10 * MINUTE)
  bench.store.failWith = new FaultError('unreachable')
  const before = bench.store.reads.length
  await bench.clock.advance(60 * MINUTE)
  const tries = bench.store.reads.length - before
  t.ok(tries > 10 && tries < 40, `${tries} tries for 100 volumes in an hour`)
  t.equal(bench.service.volumes.countByState().stale, 100)
})

t.test('Retry-After is obeyed', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  bench.store.failWith = new FaultError('rate_limited', { retryAfterMs: 20 * MINUTE })
  await bench.clock.advance(3 * MINUTE)
  const before = bench.store.reads.length
  await bench.clock.advance(15 * MINUTE)
  t.equal(bench.store.reads.length, before)
})

t.test('a key that goes missing leaves the old file and is not fetched in a hurry', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  bench.store.data.set(PATH, { other: 'x' })
  await bench.clock.advance(60 * MINUTE)
  t.equal(bench.content(), 'one')
  t.same(bench.notifier.events, ['backend failed key_missing'])
  bench.setPassword('two')
  await bench.clock.advance(12 * MINUTE)
  t.equal(bench.content(), 'two')
})

t.test('a render that took too long is repeated where a fault of the values is not', async (t) => {
  /** How often files are rendered for twenty volumes in an hour of the fault, after the first hour. */
  const rendersWith = async (fault: FaultError) => {
    const bench = new NodeBench()
    for (let at = 0; at < 20; at += 1) await bench.publish({ volumeId: `volume-${at}` })
    bench.setPassword('two')
    bench.sandbox.failWith = fault
    await bench.clock.advance(60 * MINUTE)
    const before = bench.sandbox.renders
    await bench.clock.advance(60 * MINUTE)
    const renders = bench.sandbox.renders - before
    bench.sandbox.failWith = undefined
    await bench.clock.advance(60 * MINUTE)
    return { renders, content: bench.content() }
  }
  const ended = await rendersWith(new FaultError('import_too_large', { endedBy: 'time' }))
  const failed = await rendersWith(new FaultError('template_failed', { file: 'db-password' }))
  t.ok(ended.renders > 3 * failed.renders, `${ended.renders} and ${failed.renders} renders`)
  t.equal(ended.content, 'two')
})

t.test('a write that failed is repeated although the answers are the same', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  bench.setPassword('two')
  bench.node.failWriteWith = new FaultError('volume_io')
  await bench.clock.advance(3 * MINUTE)
  t.equal(bench.content(), 'one')
  bench.node.failWriteWith = undefined
  await bench.clock.advance(3 * MINUTE)
  t.equal(bench.content(), 'two')
})

t.test('an edited import reaches its volumes at once, and only them', async (t) => {
  const bench = new NodeBench()
  bench.imports.put(importSpec({ name: 'other' }))
  await bench.publish()
  await bench.publish({ volumeId: 'volume-2', importName: 'other' })
  const before = bench.store.reads.length
  bench.imports.put(importSpec({ files: [fileSpec(), fileSpec({ name: 'second' })] }))
  await bench.clock.advance(100)
  t.equal(bench.content('volume-1', 'second'), 'one')
  t.equal(bench.content('volume-2', 'second'), undefined)
  t.equal(bench.store.reads.length, before + 1)
})

t.test('an edited role releases the old identity', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  bench.imports.put(importSpec({ role: 'other' }))
  await bench.clock.advance(100)
  t.equal(bench.store.revoked.length, 1)
  t.match([...bench.store.users.keys()], [/\|other\|/])
})

t.test(
  'a CA that changes behind its reference is another identity, and the old one is released',
  async (t) => {
    const bench = new NodeBench({ caCertRef: { kind: 'ConfigMap', name: 'vault-ca', key: 'ca.crt' } })
    await bench.publish()
    bench.caCerts.set('vault-ca', 'another PEM')
    await bench.clock.advance(3 * MINUTE)
    t.equal(bench.store.users.size, 1)
    t.equal(bench.store.revoked.length, 1)
  },
)

t.test('a deleted import leaves the files in place', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  bench.imports.delete('my-namespace1', 'python-backend')
  await bench.clock.advance(60 * MINUTE)
  t.equal(bench.content(), 'one')
  t.same(bench.notifier.events, ['backend failed import_not_found'])
})

t.test('the interval of the import wins over the setting', async (t) => {
  const bench = new NodeBench({ refreshIntervalMs: 20_000 })
  await bench.publish()
  bench.setPassword('two')
  await bench.clock.advance(22_000)
  t.equal(bench.content(), 'two')
})

t.test('volumes of many identities published together do not refresh together', async (t) => {
  const bench = new NodeBench({ authMethod: 'jwt' })
  bench.random = seededRandom()
  for (let i = 0; i < 120; i++) {
    await bench.publish({ volumeId: `volume-${i}` })
  }
  await bench.clock.advance(20 * MINUTE)
  let most = 0
  for (let second = 0; second < 120; second++) {
    const before = bench.store.reads.length
    await bench.clock.advance(1_000)
    most = Math.max(most, bench.store.reads.length - before)
  }
  t.ok(most <= 5, `${most} reads in the busiest second of 120 volumes in 120 s`)
})

t.test('an aborted publish does not fail the other volumes of its identity', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  const { promise, resolve } = Promise.withResolvers<void>()
  bench.store.held = promise
  const caller = new AbortController()
  await bench.clock.advance(MINUTE - 1_000)
  const published = bench.service.publish(bench.request({ volumeId: 'volume-2' }), caller.signal)
  caller.abort(new FaultError('deadline', { reason: 'publishing the volume (the caller hung up)' }))
  resolve()
  await t.rejects(published)
  await bench.clock.advance(10 * MINUTE)
  t.same(bench.notifier.events, [])
  t.equal(bench.service.volumes.countByState().inSync, 1)
})

t.test('a refresh without an answer in a minute is reported as such, and refreshes go on', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  bench.store.read = (_identity, _path, _tokens, signal) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason))
    })
  await bench.clock.advance(4 * MINUTE)
  t.same(bench.notifier.events, ['backend failed unreachable'])
  t.equal(bench.content(), 'one')
  t.match(bench.log.text, /no answer within 60 s/)
})

t.test('the same answers are not rendered again: a template takes a second process', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  const { renders } = bench.sandbox
  const reads = bench.store.reads.length
  await bench.clock.advance(60 * MINUTE)
  t.ok(bench.store.reads.length > reads + 20, 'it is asked all the time')
  t.equal(bench.sandbox.renders, renders)
  bench.setPassword('two')
  await bench.clock.advance(3 * MINUTE)
  t.equal(bench.sandbox.renders, renders + 1)
  t.equal(bench.content(), 'two')
})
