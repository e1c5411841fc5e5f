import t from 'tap'
import { fileSpec, importSpec } from '../fakes/imports.ts'
import { MINUTE, NodeBench, PATH, seededRandom } from '../harness/node-bench.ts'

const INTERVAL = 10_000

/** Every read of the path is answered differently, as by engines that hand out access tokens of clouds. */
function changing(bench: NodeBench): void {
  let reads = 0
  const read = bench.store.read.bind(bench.store)
  bench.store.read = (identity, path, ...rest) => {
    if (path === PATH) bench.setPassword(`answer ${++reads}`)
    return read(identity, path, ...rest)
  }
}

/** How often each volume was written after its first files. */
function rewrites(bench: NodeBench, after = 0): Map<string, number> {
  const counts = new Map<string, number>()
  for (const path of bench.node.writes.slice(after)) counts.set(path, (counts.get(path) ?? 0) + 1)
  return counts
}

t.test('six volumes of a path that never answers the same: each is written once an interval', async (t) => {
  const bench = new NodeBench({ refreshIntervalMs: INTERVAL })
  bench.random = seededRandom()
  changing(bench)
  for (let i = 0; i < 6; i++) await bench.publish({ volumeId: `volume-${i}` })
  const after = bench.node.writes.length
  const reads = bench.store.reads.length
  await bench.clock.advance(10 * INTERVAL)
  for (const [path, count] of rewrites(bench, after)) {
    // Jitter brings an interval down to nine tenths.
    t.ok(count >= 6 && count <= 12, `${path}: ${count} in 10 intervals`)
  }
  const made = bench.store.reads.length - reads
  t.ok(made <= 80, `${made} reads for 6 volumes in 10 intervals`)
})

t.test('between two writes of a volume there is most of an interval, whatever others see', async (t) => {
  const bench = new NodeBench({ refreshIntervalMs: INTERVAL })
  bench.random = seededRandom(7)
  changing(bench)
  const times = new Map<string, number[]>()
  const apply = bench.node.files.apply
  bench.node.files.apply = (path, shape, files) => {
    times.set(path, [...(times.get(path) ?? []), bench.clock.monotonic()])
    return apply(path, shape, files)
  }
  for (let i = 0; i < 20; i++) {
    await bench.publish({ volumeId: `volume-${i}` })
    await bench.clock.advance(777)
  }
  await bench.clock.advance(20 * INTERVAL)
  for (const [path, all] of times) {
    // The first rewrite may follow the first files at once.
    const gaps = all.slice(2).map((at, index) => at - (all[index + 1] ?? 0))
    t.ok(Math.min(...gaps) >= 0.88 * INTERVAL, `${path}: ${Math.min(...gaps)} ms`)
  }
})

t.test('a pod that restarts again and again does not have others rewritten more often', async (t) => {
  const bench = new NodeBench({ refreshIntervalMs: INTERVAL })
  bench.random = seededRandom()
  changing(bench)
  await bench.publish()
  for (let i = 0; i < 100; i++) {
    await bench.publish({ volumeId: `restarting-${i}` })
    await bench.clock.advance(INTERVAL / 10)
    await bench.unpublish(`restarting-${i}`)
  }
  const count = rewrites(bench).get('/pods/volume-1/mount') ?? 0
  t.ok(count <= 13, `${count} writes in 10 intervals`)
})

t.test('a true change still reaches all volumes of the identity at once, time after time', async (t) => {
  const bench = new NodeBench()
  bench.random = seededRandom()
  for (let i = 0; i < 20; i++) await bench.publish({ volumeId: `volume-${i}` })
  for (const password of ['two', 'three', 'four', 'five', 'six']) {
    await bench.clock.advance(20 * MINUTE)
    bench.setPassword(password)
    const before = bench.store.reads.length
    await bench.clock.advance(2.2 * MINUTE)
    for (let i = 0; i < 20; i++) t.equal(bench.content(`volume-${i}`), password)
    // One of each, which the true store makes one of all that ask at the same time.
    t.ok(bench.store.reads.length - before <= 22, `${bench.store.reads.length - before} reads`)
  }
})

t.test('a path that came to rest wakes others again', async (t) => {
  const bench = new NodeBench()
  for (let i = 0; i < 10; i++) await bench.publish({ volumeId: `volume-${i}` })
  for (let i = 0; i < 20; i++) {
    bench.setPassword(`changing ${i}`)
    await bench.clock.advance(2.5 * MINUTE)
  }
  await bench.clock.advance(10 * MINUTE)
  bench.setPassword('at last')
  await bench.publish({ volumeId: 'new' })
  await bench.clock.advance(2_000)
  for (let i = 0; i < 10; i++) t.equal(bench.content(`volume-${i}`), 'at last')
})

t.test('an import edited without pause has its volume refreshed once a second at most', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  const before = bench.store.reads.length
  for (let i = 0; i < 1_000; i++) {
    bench.imports.put(importSpec({ files: [fileSpec({ name: `file-${i}` })] }))
    await bench.clock.advance(10)
  }
  const reads = bench.store.reads.length - before
  t.ok(reads <= 12, `${reads} reads in 10 s of edits`)
  await bench.clock.advance(1_000)
  t.equal(bench.content('volume-1', 'file-999'), 'one')
})
