import t from 'tap'
import {
  compactHeap,
  type MemoryUse,
  readMemoryUse,
  startMemoryRelease,
} from '../../src/ops/memory-release.ts'
import { FakeClock } from '../fakes/clock.ts'

const MIB = 2 ** 20
const MINUTE_MS = 60_000

/** A process whose size the test sets; compaction leaves 30 MiB, the release of the executable 8. */
function start(options: { releaseExecutable?: () => void } = {}) {
  const clock = new FakeClock()
  const use: MemoryUse = { anonymous: 40 * MIB, file: 55 * MIB, heapUsed: 16 * MIB }
  const bench = { clock, use, done: [] as string[], utilization: 0, warnings: [] as string[] }
  const ignore = () => undefined
  startMemoryRelease({
    clock,
    log: { debug: ignore, info: ignore, warn: (_, text) => void bench.warnings.push(text), error: ignore },
    memory: () => ({ ...use }),
    utilization: () => bench.utilization,
    compactHeap() {
      bench.done.push('heap')
      use.anonymous = 30 * MIB
    },
    releaseExecutable() {
      options.releaseExecutable?.()
      bench.done.push('executable')
      use.file = 8 * MIB
    },
  })
  return bench
}

t.test('memory left by start-up is released once', async (t) => {
  const bench = start()
  t.strictSame(bench.done, [])
  await bench.clock.advance(3_000)
  t.strictSame(bench.done, ['heap', 'executable'])
  await bench.clock.advance(60 * MINUTE_MS)
  t.strictSame(bench.done, ['heap', 'executable'], 'nothing more happens in an idle process')
})

t.test('memory left by many publishes is released when they are over', async (t) => {
  const bench = start()
  await bench.clock.advance(3_000)
  bench.done.length = 0
  bench.utilization = 0.5
  bench.use.anonymous = 45 * MIB
  bench.use.file = 35 * MIB
  await bench.clock.advance(MINUTE_MS)
  t.strictSame(bench.done, [], 'no pause while there is work')
  bench.utilization = 0.02
  await bench.clock.advance(MINUTE_MS)
  t.strictSame(bench.done, ['heap', 'executable'])
})

t.test('small growth is ignored, and is measured from the smallest size of the process', async (t) => {
  const bench = start()
  await bench.clock.advance(3_000)
  bench.done.length = 0
  bench.use.anonymous = 37 * MIB
  await bench.clock.advance(MINUTE_MS)
  t.strictSame(bench.done, [])
  bench.use.anonymous = 28 * MIB
  await bench.clock.advance(MINUTE_MS)
  bench.use.anonymous = 37 * MIB
  await bench.clock.advance(MINUTE_MS)
  t.strictSame(bench.done, ['heap'])
})

t.test('a large heap is left to V8: collecting it at once would block all calls', async (t) => {
  const bench = start()
  bench.use.heapUsed = 100 * MIB
  await bench.clock.advance(MINUTE_MS)
  t.strictSame(bench.done, ['executable'])
  bench.use.heapUsed = 20 * MIB
  await bench.clock.advance(MINUTE_MS)
  t.strictSame(bench.done, ['executable', 'heap'])
})

t.test('where memory cannot be released, that is logged once and nothing else happens', async (t) => {
  const bench = start({
    releaseExecutable() {
      throw new Error('errno 38 at madvise(2)')
    },
  })
  await bench.clock.advance(60 * MINUTE_MS)
  t.strictSame(bench.warnings, ['memory cannot be released, continuing without'])
  t.equal(bench.clock.waiting, 0)
})

t.test('the memory use of this process is read', async (t) => {
  const { anonymous, file, heapUsed } = readMemoryUse()
  for (const bytes of [anonymous, file, heapUsed]) t.ok(bytes > MIB && bytes < 2_000 * MIB, `${bytes}`)
  t.ok(anonymous + file >= process.memoryUsage.rss() / 2)
})

t.test('the heap is compacted and the program continues', async (t) => {
  let garbage: unknown = Array.from({ length: 500_000 }, (_, index) => ({ index }))
  const before = process.memoryUsage().heapTotal
  garbage = undefined
  compactHeap()
  t.ok(process.memoryUsage().heapTotal < before - 4 * 2 ** 20, 'at least 4 MiB less')
  t.equal(garbage, undefined)
})
