import { mock } from 'node:test'
import t from 'tap'
import { createClock } from '../../src/ops/clock.ts'

/** What one timer of Node's can count, in milliseconds: 24 days. */
const LONGEST_MS = 2 ** 31 - 1
const MONTHS_MS = 2 * LONGEST_MS + 1000

t.beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }))
t.afterEach(() => mock.timers.reset())

t.test('an interval of months passes completely, not within a millisecond', async (t) => {
  let fired = 0
  createClock().after(MONTHS_MS, () => {
    fired += 1
  })
  for (const stepMs of [1, LONGEST_MS - 1, LONGEST_MS, 999]) mock.timers.tick(stepMs)
  t.equal(fired, 0)
  mock.timers.tick(1)
  t.equal(fired, 1)
  mock.timers.tick(LONGEST_MS)
  t.equal(fired, 1)
})

t.test('an interval of months can be cancelled in its later part', async (t) => {
  let fired = 0
  const cancel = createClock().after(MONTHS_MS, () => {
    fired += 1
  })
  for (const stepMs of [LONGEST_MS, LONGEST_MS]) mock.timers.tick(stepMs)
  cancel()
  mock.timers.tick(LONGEST_MS)
  t.equal(fired, 0)
})
