import t from 'tap'
import { eachOf } from '../../src/node/each-of.ts'
import { waitAtMost } from '../../src/node/wait-at-most.ts'
import { FakeClock } from '../fakes/clock.ts'

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

t.test('patience ends although the task does not', async (t) => {
  const clock = new FakeClock()
  let reason: unknown
  const late = waitAtMost(clock, 3_000, (signal) => {
    signal.addEventListener('abort', () => {
      reason = signal.reason
    })
    return new Promise(() => {})
  })
  await clock.advance(3_000)
  t.equal(await late, false)
  t.ok(reason)
  t.equal(await waitAtMost(clock, 3_000, () => Promise.reject(new Error('failed'))), true)
  t.equal(clock.waiting, 0)
})

t.test('a pool begins nothing after a failure, and tells the first', async (t) => {
  const begun: number[] = []
  let most = 0
  let running = 0
  await t.rejects(
    eachOf([0, 1, 2, 3, 4, 5], 3, async (item) => {
      begun.push(item)
      running += 1
      most = Math.max(most, running)
      await turn()
      running -= 1
      if (item > 0) throw new Error(`failed ${item}`)
    }),
    { message: 'failed 1' },
  )
  t.same(begun, [0, 1, 2, 3])
  t.equal(most, 3)
})
