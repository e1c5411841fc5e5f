import t from 'tap'
import { type Caller, MOST_WAITING } from '../../src/vault/lane.ts'
import { createLimiter } from '../../src/vault/limiter.ts'
import { FakeClock } from '../fakes/clock.ts'
import { faulty } from '../harness/faulty.ts'
import { patient } from '../harness/vault/vault-bench.ts'

const A = 'http://a.test'

function bench(options: { callsPerSecond?: number; concurrency?: number } = {}) {
  const clock = new FakeClock()
  const limiter = createLimiter({ clock, callsPerSecond: 50, concurrency: 16, ...options })
  /** By asker, when its calls started: milliseconds from the start. */
  const starts = new Map<string, number[]>()
  const zero = clock.monotonic()
  const caller = (asker: string, more: Partial<Caller> = {}): Caller => ({
    ...{ address: A, asker, mount: '|secret', isUrgent: false },
    ...more,
  })
  /** A call that takes `takesMs`. */
  const call = (who: Caller, takesMs = 0, signal = patient) =>
    limiter.run(
      who,
      async () => {
        starts.set(who.asker, [...(starts.get(who.asker) ?? []), clock.monotonic() - zero])
        if (takesMs > 0) await clock.sleep(takesMs, signal)
      },
      signal,
    )
  const count = (asker: string) => starts.get(asker)?.length ?? 0
  const hanging = new AbortController()
  /** Calls that never end. */
  const hang = (who: Caller, calls: number) => {
    for (let i = 0; i < calls; i++) call(who, 3_600_000, hanging.signal).catch(() => undefined)
  }
  t.teardown(() => hanging.abort())
  return { clock, limiter, starts, caller, call, count, hang }
}

for (const askers of [2, 10, 100]) {
  t.test(`${askers} namespaces have the same share, however many calls each has waiting`, async (t) => {
    const { clock, caller, call, count } = bench({ callsPerSecond: 100 })
    const names = Array.from({ length: askers }, (_, i) => `team-${i}`)
    for (const [i, name] of names.entries()) {
      const calls = i === 0 ? 900 : askers === 100 ? 60 : 400
      for (let n = 0; n < calls; n++) call(caller(name), 5).catch(() => undefined)
    }
    // Those who came before the others have had more of the first second's burst.
    await clock.advance(1_000)
    const before = names.map(count)
    await clock.advance(100 * askers)
    const counts = names.map((name, i) => count(name) - (before[i] ?? 0))
    t.ok(
      Math.max(...counts) - Math.min(...counts) <= 1,
      `${Math.min(...counts)} to ${Math.max(...counts)} calls`,
    )
    t.ok(Math.min(...counts) >= 9, 'the share is what one of so many can have')
  })
}

t.test('one that was quiet waits for one turn, whatever another has waiting', async (t) => {
  const { clock, starts, caller, call } = bench()
  for (let i = 0; i < 900; i++) call(caller('greedy'), 5).catch(() => undefined)
  await clock.advance(3_000)
  const cameAt = 3_000
  call(caller('victim'), 5).catch(() => undefined)
  await clock.advance(1_000)
  const [startedAt = Number.NaN] = starts.get('victim') ?? []
  t.ok(startedAt - cameAt <= 20, `${startedAt - cameAt} ms`)
})

t.test('no asker starves, although others keep coming', async (t) => {
  const { clock, caller, call, count } = bench()
  for (let i = 0; i < 500; i++) call(caller('steady'), 5).catch(() => undefined)
  for (let i = 0; i < 1_000; i++) {
    call(caller(`new-${i % 40}`), 5).catch(() => undefined)
    await clock.advance(20)
  }
  t.ok(count('steady') >= 70, `${count('steady')} of 1,050 calls`)
})

t.test('one namespace on its own gets all that it got before', async (t) => {
  const { clock, starts, caller, call } = bench()
  const all = Promise.all(Array.from({ length: 400 }, () => call(caller('alone'), 100)))
  await clock.advance(10_000)
  await all
  // 50 at once and 50 a second: 7 s for 400.
  t.ok(
    (starts.get('alone')?.at(-1) ?? Number.NaN) <= 7_500,
    `the last started after ${starts.get('alone')?.at(-1)} ms`,
  )
})

t.test('calls that hang leave places to others, and to the other mounts of the same namespace', async (t) => {
  const { clock, caller, call, count, hang } = bench()
  hang(caller('attacker', { mount: '|database' }), 200)
  await clock.advance(10_000)
  t.equal(count('attacker'), 6, 'of sixteen places')
  await call(caller('attacker'))
  await call(caller('victim'))
  hang(caller('attacker', { mount: '|pki' }), 200)
  hang(caller('second', { mount: '|database' }), 200)
  hang(caller('second', { mount: '|pki' }), 200)
  await clock.advance(10_000)
  for (let i = 0; i < 10; i++) await call(caller('victim'))
  t.equal(count('victim'), 11)
})

t.test('a mount that hangs for everybody leaves places for the others', async (t) => {
  const { clock, caller, call, count, hang } = bench()
  for (let i = 0; i < 20; i++) hang(caller(`team-${i}`, { mount: '|database' }), 5)
  await clock.advance(10_000)
  for (let i = 0; i < 20; i++) await call(caller(`team-${i}`))
  t.equal(
    Array.from({ length: 20 }, (_, i) => count(`team-${i}`)).reduce((sum, n) => sum + n),
    20 + 11,
    'eleven of the sixteen places hang',
  )
})

t.test('with one place in all, one call goes after the other', async (t) => {
  const { clock, caller, call, starts } = bench({ concurrency: 1 })
  const all = [call(caller('a'), 10), call(caller('a'), 10), call(caller('b'), 10)]
  await clock.advance(100)
  await Promise.all(all)
  t.same(starts.get('b'), [10], 'the quiet one goes second, not third')
})

t.test("a namespace's renewals and revocations go before its reads", async (t) => {
  const { clock, caller, call, starts } = bench({ callsPerSecond: 10, concurrency: 4 })
  for (let i = 0; i < 100; i++) call(caller('shop'), 1).catch(() => undefined)
  await clock.advance(1_000)
  const urgent = caller('shop', { mount: '|auth/token', isUrgent: true })
  const before = starts.get('shop')?.length ?? 0
  let position = Number.NaN
  const done = call(urgent).then(() => {
    position = (starts.get('shop')?.length ?? 0) - before
  })
  await clock.advance(200)
  await done
  t.ok(position <= 2)
})

t.test('a 429 is about who met it and where', async (t) => {
  const { clock, limiter, caller, call } = bench()
  const limited = caller('attacker', { mount: '|limited' })
  limiter.limited(limited, 60_000)
  await t.rejects(call(limited), { ...faulty('rate_limited'), facts: { retryAfterMs: 60_000 } } as Error)
  await call(caller('attacker'))
  await call(caller('victim', { mount: '|limited' }))
  await clock.advance(60_000)
  await call(limited)
})

t.test('a limit that two namespaces meet at a mount is the mount’s', async (t) => {
  const { limiter, caller, call } = bench()
  limiter.limited(caller('one'), 60_000)
  limiter.limited(caller('other'), 60_000)
  await t.rejects(call(caller('third')), faulty('rate_limited'))
  await call(caller('one', { mount: '|pki' }))
})

t.test('a limit that one namespace meets at mount after mount is its own', async (t) => {
  const { limiter, caller, call } = bench()
  for (const mount of ['|a', '|b', '|c']) limiter.limited(caller('one', { mount }), 60_000)
  await t.rejects(call(caller('one', { mount: '|d' })), faulty('rate_limited'))
  await call(caller('other', { mount: '|d' }))
  await call(caller('other', { mount: '|a' }))
})

t.test('a limit that several meet at several mounts is the address’s', async (t) => {
  const { clock, limiter, caller, call } = bench()
  limiter.limited(caller('one', { mount: '|a' }), 60_000)
  limiter.limited(caller('two', { mount: '|b' }), 60_000)
  await call(caller('three', { mount: '|c' }))
  limiter.limited(caller('three', { mount: '|c' }), 60_000)
  await t.rejects(call(caller('four', { mount: '|d' })), faulty('rate_limited'))
  await call(caller('four', { address: 'http://b.test' }))
  await clock.advance(60_000)
  await call(caller('four'))
})

t.test('refusals long apart are of different limits', async () => {
  const { clock, limiter, caller, call } = bench()
  limiter.limited(caller('one'), 60_000)
  await clock.advance(11_000)
  limiter.limited(caller('other'), 60_000)
  await call(caller('third'))
})

t.test('waiting calls fail at once when a long pause begins', async (t) => {
  const { clock, limiter, caller, call } = bench({ callsPerSecond: 1 })
  await call(caller('one'))
  const waiting = call(caller('one'))
  const other = call(caller('one', { mount: '|pki' }))
  limiter.limited(caller('one'), 60_000)
  await t.rejects(waiting, faulty('rate_limited'))
  await clock.advance(1_000)
  await other
  t.equal(clock.waiting, 0)
})

t.test('the calls that a namespace can have waiting are limited, which is reported and passes', async (t) => {
  const { clock, caller, call } = bench({ callsPerSecond: 1 })
  await call(caller('greedy'))
  const abort = new AbortController()
  const waiting = Array.from({ length: MOST_WAITING }, () => call(caller('greedy'), 0, abort.signal))
  const error = await call(caller('greedy')).catch((error) => error)
  t.match(error, { fault: 'rate_limited', retry: 'soon' })
  t.match(error.message, /1000 calls of namespace "greedy" wait for their turn/)
  const victim = call(caller('victim'))
  await clock.advance(1_000)
  await victim
  abort.abort(new Error('gone'))
  await Promise.allSettled(waiting)
  const later = call(caller('greedy'))
  await clock.advance(1_000)
  await later
  t.equal(clock.waiting, 0)
})

t.test('addresses of one’s own, each hanging, are no way to more and more calls', async (t) => {
  const { clock, caller, call, count, hang } = bench({ concurrency: 4 })
  for (let i = 0; i < 100; i++) hang(caller('attacker', { address: `http://host-${i}.test` }), 3)
  await clock.advance(1_000)
  t.equal(count('attacker'), 16, 'four addresses’ places')
  await call(caller('victim'))
})
