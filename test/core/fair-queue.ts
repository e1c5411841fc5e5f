import t from 'tap'
import { createFairQueue, type FairQueue } from '../../src/core/fair-queue.ts'

const never = new AbortController().signal
const tick = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Tasks that run until `end`; `begun` has the order in which they got a slot. */
function bench(limits: { total: number; perNamespace: number }) {
  const queue = createFairQueue(limits)
  const begun: string[] = []
  const ends = new Map<string, () => void>()
  const ask = (namespace: string, name: string, signal = never) =>
    queue.run(
      namespace,
      () => {
        begun.push(name)
        return new Promise<void>((resolve) => ends.set(name, resolve))
      },
      signal,
    )
  const end = async (name: string) => {
    await tick()
    ends.get(name)?.()
    await tick()
  }
  return { begun, ask, end }
}

t.test('namespaces get slots round-robin, whichever asked first', async (t) => {
  const { begun, ask, end } = bench({ total: 1, perNamespace: 1 })
  const all = ['a1', 'a2', 'a3'].map((name) => ask('a', name))
  all.push(ask('b', 'b1'), ask('c', 'c1'))
  for (const name of ['a1', 'a2', 'b1', 'c1', 'a3']) await end(name)
  t.same(begun, ['a1', 'a2', 'b1', 'c1', 'a3'])
  await Promise.all(all)
})

t.test('one namespace cannot take all slots', async (t) => {
  const { begun, ask, end } = bench({ total: 4, perNamespace: 2 })
  const all = ['a1', 'a2', 'a3', 'a4'].map((name) => ask('a', name))
  all.push(ask('b', 'b1'))
  await tick()
  t.same(begun, ['a1', 'a2', 'b1'])
  for (const name of ['a1', 'a2', 'a3', 'a4', 'b1']) await end(name)
  await Promise.all(all)
  t.same(begun, ['a1', 'a2', 'b1', 'a3', 'a4'])
})

t.test('a task that gives up waiting takes no slot, and one that fails releases its own', async (t) => {
  const { begun, ask, end } = bench({ total: 1, perNamespace: 1 })
  const first = ask('a', 'a1')
  const late = new AbortController()
  const second = ask('a', 'a2', late.signal)
  late.abort(new Error('too late'))
  await t.rejects(second, { message: 'too late' })
  await t.rejects(ask('b', 'b1', AbortSignal.abort(new Error('stopping'))), { message: 'stopping' })
  const third = ask('b', 'b2')
  await end('a1')
  await end('b2')
  await Promise.all([first, third])
  t.same(begun, ['a1', 'b2'])
  const queue = createFairQueue({ total: 1, perNamespace: 1 })
  const ill = async () => {
    throw new Error('ill')
  }
  await t.rejects(queue.run('a', ill, never), { message: 'ill' })
  t.equal(await queue.run('a', async () => 'well', never), 'well')
})

/** Tasks that run until `endOne`. */
function tasks(queue: FairQueue) {
  const begun: string[] = []
  const ends: (() => void)[] = []
  return {
    begun,
    add: (namespace: string) =>
      queue.run(namespace, async () => {
        begun.push(namespace)
        await new Promise<void>((resolve) => ends.push(resolve))
      }),
    async endOne() {
      ends.shift()?.()
      await tick()
      await tick()
    },
  }
}

t.test('a task that comes behind a hundred of another namespace is next', async (t) => {
  const { begun, add, endOne } = tasks(createFairQueue({ total: 4, perNamespace: 4 }))
  const all = Array.from({ length: 100 }, () => add('many'))
  all.push(add('one'))
  await tick()
  t.equal(begun.length, 4)
  await endOne()
  t.equal(begun[4], 'many', 'it waited when no other namespace did')
  await endOne()
  t.equal(begun[5], 'one')
  for (let i = 0; i < 110; i++) await endOne()
  await Promise.all(all)
})

t.test('one namespace gets no more than its slots, while others get theirs', async (t) => {
  const { begun, add, endOne } = tasks(createFairQueue({ total: 3, perNamespace: 2 }))
  const all = [add('a'), add('a'), add('a'), add('b'), add('c')]
  await tick()
  t.same(begun, ['a', 'a', 'b'])
  await endOne()
  t.same(begun, ['a', 'a', 'b', 'a'])
  for (let i = 0; i < 5; i++) await endOne()
  t.same(begun, ['a', 'a', 'b', 'a', 'c'])
  await Promise.all(all)
})

t.test('a slot that is waited for no more goes to the next, and releasing twice releases once', async (t) => {
  const queue = createFairQueue({ total: 1, perNamespace: 1 })
  const release = await queue.enter('a')
  const gone = new AbortController()
  const waiting = queue.enter('b', gone.signal)
  const next = queue.enter('c')
  gone.abort(new Error('no more'))
  await t.rejects(waiting, { message: 'no more' })
  release()
  release()
  ;(await next)()
  ;(await queue.enter('d'))()
  await t.rejects(queue.enter('e', gone.signal), { message: 'no more' })
})
