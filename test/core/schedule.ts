import t from 'tap'
import { backoffMs, firstDelayMs, nextDelayMs } from '../../src/core/schedule.ts'

const intervalMs = 120_000
const middle = 0.5

t.test('the next look is the interval, ten percent early at most and ten late', async (t) => {
  t.equal(nextDelayMs({ intervalMs, random: 0 }), 108_000)
  t.equal(nextDelayMs({ intervalMs, random: middle }), 120_000)
  t.equal(nextDelayMs({ intervalMs, random: 1 }), 132_000)
})

t.test('a thousand first looks are spread evenly over the interval', async (t) => {
  const delays = Array.from({ length: 1000 }, (_, index) =>
    firstDelayMs({ intervalMs, random: index / 1000 }),
  )
  const tenths = Array.from(
    { length: 10 },
    (_, tenth) => delays.filter((d) => Math.floor(d / 12_000) === tenth).length,
  )
  t.same(tenths, Array(10).fill(100))
})

t.test('what may pass by itself is tried from 5 s doubling to 5 min', async (t) => {
  const delays = [1, 2, 3, 4, 5, 6, 7, 8, 2000].map((failures) =>
    backoffMs({ retry: 'soon', failures, intervalMs, retryAfterMs: undefined, random: middle }),
  )
  t.same(delays, [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000])
})

t.test('an interval under 5 s is where the doubling begins', async (t) => {
  t.equal(
    backoffMs({ retry: 'soon', failures: 1, intervalMs: 2_000, retryAfterMs: undefined, random: middle }),
    2_000,
  )
})

t.test('what somebody must repair is tried from the interval doubling to 10 min', async (t) => {
  const delays = [1, 2, 3, 4, 5].map((failures) =>
    backoffMs({ retry: 'slow', failures, intervalMs, retryAfterMs: undefined, random: middle }),
  )
  t.same(delays, [120_000, 240_000, 480_000, 600_000, 600_000])
})

t.test('an interval over 10 min is never undercut by what must be repaired', async (t) => {
  const delays = [1, 2, 9].map((failures) =>
    backoffMs({ retry: 'slow', failures, intervalMs: 3_600_000, retryAfterMs: undefined, random: middle }),
  )
  t.same(delays, [3_600_000, 3_600_000, 3_600_000])
})

t.test("Vault's Retry-After is a floor, with jitter above it only", async (t) => {
  const ask = (random: number) =>
    backoffMs({ retry: 'soon', failures: 1, intervalMs, retryAfterMs: 60_000, random })
  t.equal(ask(0), 60_000)
  t.equal(ask(1), 66_000)
  t.equal(backoffMs({ retry: 'soon', failures: 7, intervalMs, retryAfterMs: 1_000, random: middle }), 300_000)
})
