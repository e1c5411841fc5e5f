import t from 'tap'
import { compactHeap } from '../../src/ops/heap.ts'

t.test('the heap is given back and the program goes on', async (t) => {
  let garbage: unknown = Array.from({ length: 500_000 }, (_, index) => ({ index }))
  const before = process.memoryUsage().heapTotal
  garbage = undefined
  compactHeap()
  t.ok(process.memoryUsage().heapTotal < before - 4 * 2 ** 20, 'at least 4 MiB less')
  t.equal(garbage, undefined)
})
