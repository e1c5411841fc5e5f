import t from 'tap'
import { eachOf } from '../../src/node/each-of.ts'
import { createPlaces } from '../../src/node/places.ts'
import { waitAtMost } from '../../src/node/wait-at-most.ts'
import { FakeClock } from '../fakes/clock.ts'

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Tasks that end when the test ends them. */
function tasks(places: ReturnType<typeof createPlaces>) {
  const begun: string[] = []
  const ends: (() => void)[] = []
  return {
    begun,
    add: (namespace: string) =>
      places.run(namespace, async () => {
        begun.push(namespace)
        await new Promise<void>((resolve) => ends.push(resolve))
      }),
    async endOne() {
      ends.shift()?.()
      await turn()
      await turn()
    },
  }
}

t.test('a task behind a hundred of another namespace is next', async (t) => {
  const { begun, add, endOne } = tasks(createPlaces({ atOnce: 4, ofOne: 4 }))
  const all = Array.from({ length: 100 }, () => add('many'))
  all.push(add('one'))
  await turn()
  t.equal(begun.length, 4)
  await endOne()
  t.equal(begun[4], 'many', 'the only one that waited')
  await endOne()
  t.equal(begun[5], 'one')
  for (let i = 0; i < 110; i++) await endOne()
  await Promise.all(all)
})

t.test('one namespace has no more than its places, while others have theirs', async (t) => {
  const { begun, add, endOne } = tasks(createPlaces({ atOnce: 3, ofOne: 2 }))
  const all = [add('a'), add('a'), add('a'), add('b'), add('c')]
  await turn()
  t.same(begun, ['a', 'a', 'b'])
  await endOne()
  t.same(begun, ['a', 'a', 'b', 'a'])
  for (let i = 0; i < 5; i++) await endOne()
  t.same(begun, ['a', 'a', 'b', 'a', 'c'])
  await Promise.all(all)
})

t.test('a task that gives up waiting takes no place', async (t) => {
  const places = createPlaces({ atOnce: 1, ofOne: 1 })
  const leave = await places.enter('a')
  const gone = new AbortController()
  const waiting = places.enter('b', gone.signal)
  const next = places.enter('c')
  gone.abort(new Error('no more'))
  await t.rejects(waiting, { message: 'no more' })
  leave()
  leave()
  ;(await next)()
  ;(await places.enter('d'))()
  await t.rejects(places.enter('e', gone.signal), { message: 'no more' })
})

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

t.test('a pool begins nothing after a failure, and rejects with the first', async (t) => {
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
