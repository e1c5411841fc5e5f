import t from 'tap'
import type { Caller } from '../../src/vault/lane.ts'
import { createLimiter } from '../../src/vault/limiter.ts'
import { FakeClock } from '../fakes/clock.ts'
import { faulty } from '../harness/faulty.ts'
import { patient } from '../harness/vault/vault-bench.ts'

const A = 'http://a.test'
const B = 'http://b.test'

/** A read of the KV engine by a pod of the namespace `shop`, at the address A, unless said otherwise. */
function caller(more: Partial<Caller> = {}): Caller {
  return { address: A, asker: 'shop', mount: '|secret', isUrgent: false, ...more }
}
const a = caller()

function bench(options: { callsPerSecond?: number; concurrency?: number } = {}) {
  const clock = new FakeClock()
  const limiter = createLimiter({ clock, callsPerSecond: 10, concurrency: 4, ...options })
  const started: string[] = []
  const call = (name: string, address = A, signal = patient) =>
    limiter.run(caller({ address }), async () => void started.push(name), signal)
  return { clock, limiter, started, call }
}

t.test('a second sees no more calls than allowed, then those that waited, in order', async (t) => {
  const { clock, started, call } = bench({ callsPerSecond: 2 })
  const calls = ['1', '2', '3', '4', '5'].map((name) => call(name))
  await clock.advance(0)
  t.same(started, ['1', '2'])
  await clock.advance(500)
  t.same(started, ['1', '2', '3'])
  await clock.advance(1_000)
  await Promise.all(calls)
  t.same(started, ['1', '2', '3', '4', '5'])
})

t.test('no more calls are under way at once than allowed', async (t) => {
  const { clock, limiter } = bench({ concurrency: 2 })
  const ends: (() => void)[] = []
  const hang = (asker: string) =>
    limiter.run(caller({ asker }), () => new Promise<void>((resolve) => ends.push(resolve)), patient)
  const calls = [hang('one'), hang('other'), hang('third')]
  await clock.advance(1_000)
  t.equal(ends.length, 2)
  ends[0]!()
  await clock.advance(0)
  t.equal(ends.length, 3)
  for (const end of ends) end()
  await Promise.all(calls)
})

t.test('an address that hangs takes no places and no turns from another', async (t) => {
  const { clock, limiter, started, call } = bench({ concurrency: 2, callsPerSecond: 3 })
  const abort = new AbortController()
  const hang = () => limiter.run(a, () => new Promise<void>(() => {}), abort.signal)
  for (let i = 0; i < 3; i++) hang().catch(() => undefined)
  await clock.advance(0)
  await Promise.all(['1', '2', '3'].map((name) => call(name, B)))
  t.same(started, ['1', '2', '3'])
  abort.abort()
})

t.test('an address is remembered for as long as it limits calls', async (t) => {
  const { clock, limiter, started, call } = bench({ callsPerSecond: 1, concurrency: 1 })
  let end = () => {}
  const first = limiter.run(a, () => new Promise<void>((resolve) => (end = resolve)), patient)
  await clock.advance(5_000)
  await call('elsewhere', B)
  const second = call('second')
  await clock.advance(0)
  t.same(started, ['elsewhere'], 'its place is still taken')
  end()
  await first
  await second
  await call('another', 'http://c.test')
  const third = call('third')
  await clock.advance(999)
  t.same(started, ['elsewhere', 'second', 'another'], 'its turns are still counted')
  await clock.advance(1)
  await third
  limiter.pauseAll(A, 60_000)
  await call('one more', 'http://d.test')
  await t.rejects(call('fourth'), faulty('rate_limited'))
})

t.test('a call that fails makes room like any other', async (t) => {
  const { clock, limiter, call, started } = bench({ concurrency: 1 })
  await t.rejects(
    limiter.run(a, () => Promise.reject(new Error('no')), patient),
    { message: 'no' },
  )
  await call('next')
  t.same(started, ['next'])
  t.equal(clock.waiting, 0)
})

t.test('a short pause is waited out, and only by calls to that address', async (t) => {
  const { clock, limiter, started, call } = bench()
  limiter.pauseAll(A, 2_000)
  const paused = call('a')
  await call('b', B)
  t.same(started, ['b'])
  await clock.advance(2_000)
  await paused
  t.same(started, ['b', 'a'])
})

t.test('a long pause fails at once and says how long it takes', async (t) => {
  const { clock, limiter, started, call } = bench()
  limiter.pauseAll(A, 60_000)
  await t.rejects(call('a'), { ...faulty('rate_limited', /60 s/), facts: { retryAfterMs: 60_000 } } as Error)
  await clock.advance(60_000)
  await call('later')
  t.same(started, ['later'])
})

t.test('a call that stands in the queue when the pause comes keeps to it', async (t) => {
  const { clock, limiter, started, call } = bench({ concurrency: 1 })
  let end = () => {}
  const first = limiter.run(a, () => new Promise<void>((resolve) => (end = resolve)), patient)
  await clock.advance(0)
  const second = call('second')
  limiter.pauseAll(A, 1_000)
  end()
  await first
  await clock.advance(999)
  t.same(started, [])
  await clock.advance(1_001)
  await second
  t.same(started, ['second'])
})

t.test('a wall clock that is set makes no pause longer or shorter', async (t) => {
  const { clock, limiter, call } = bench()
  limiter.pauseAll(A, 10_000)
  for (const step of [-3, 6]) {
    clock.step(step * 3_600_000)
    await t.rejects(call('early'), {
      ...faulty('rate_limited', /10 s/),
      facts: { retryAfterMs: 10_000 },
    } as Error)
  }
  await clock.advance(10_000)
  await call('in time')
})

t.test('an aborted call leaves the queue and takes nothing', async (t) => {
  const { clock, started, call } = bench({ callsPerSecond: 1 })
  await call('1')
  const abort = new AbortController()
  const given = call('2', A, abort.signal)
  const third = call('3')
  abort.abort(new Error('gone'))
  await t.rejects(given, { message: 'gone' })
  await clock.advance(1_000)
  await third
  t.same(started, ['1', '3'])
})
