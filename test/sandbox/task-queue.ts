import t from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import { createTaskQueue } from '../../src/sandbox/task-queue.ts'

/** Tasks that run until the test ends them, in the order in which they began. */
function bench() {
  const queue = createTaskQueue()
  const begun: string[] = []
  const ends = new Map<string, () => void>()
  const enter = (namespace: string, name: string, signal?: AbortSignal) =>
    queue.run(namespace, signal, () => {
      begun.push(name)
      return new Promise<void>((resolve) => ends.set(name, resolve))
    })
  const end = async (name: string) => {
    await new Promise(setImmediate)
    ends.get(name)?.()
    await new Promise(setImmediate)
  }
  return { queue, begun, enter, end }
}

t.test('a victim waits for one task of an attacker, however many there are', async (t) => {
  const { begun, enter, end } = bench()
  for (let at = 0; at < 100; at += 1) enter('attacker', `a${at}`)
  enter('victim', 'v0')
  enter('victim', 'v1')
  for (const name of ['a0', 'v0', 'a1', 'v1', 'a2', 'a3']) await end(name)
  t.strictSame(begun, ['a0', 'v0', 'a1', 'v1', 'a2', 'a3', 'a4'])
})

t.test("beside a task that takes long another namespace's begins, and no third one", async (t) => {
  const queue = createTaskQueue()
  const begun: string[] = []
  const ends = new Map<string, () => void>()
  const isLong = new Map<string, () => void>()
  const enter = (namespace: string, name: string) =>
    queue.run(namespace, undefined, (onLong) => {
      begun.push(name)
      isLong.set(name, onLong)
      return new Promise<void>((resolve) => ends.set(name, resolve))
    })
  const tick = () => new Promise(setImmediate)
  const all = [enter('a', 'a0'), enter('a', 'a1'), enter('b', 'b0'), enter('b', 'b1'), enter('c', 'c0')]
  await tick()
  t.strictSame(begun, ['a0'])
  isLong.get('a0')?.()
  await tick()
  t.strictSame(begun, ['a0', 'b0'], 'not one of the same namespace')
  isLong.get('b0')?.()
  await tick()
  t.strictSame(begun, ['a0', 'b0'], 'two at most')
  for (const name of ['b0', 'c0', 'b1', 'a0', 'a1']) {
    ends.get(name)?.()
    await tick()
  }
  await Promise.all(all)
  t.strictSame(begun, ['a0', 'b0', 'c0', 'b1', 'a1'])
})

t.test('a task that gives up leaves the queue, and the others keep their places', async (t) => {
  const { begun, enter, end } = bench()
  const abort = new AbortController()
  enter('a', 'a0')
  const given = enter('b', 'b0', abort.signal)
  enter('b', 'b1')
  abort.abort(new Error('the pod is gone'))
  await t.rejects(given, { message: 'the pod is gone' })
  await t.rejects(enter('c', 'c0', abort.signal), { message: 'the pod is gone' })
  await end('a0')
  t.strictSame(begun, ['a0', 'b1'])
})

t.test('a task that fails lets the next one start', async (t) => {
  const { queue } = bench()
  const failing = queue.run('a', undefined, () => Promise.reject(new Error('no')))
  const next = queue.run('b', undefined, async () => 'done')
  await t.rejects(failing, { message: 'no' })
  t.equal(await next, 'done')
})

t.test('a namespace whose task was ended comes after all others that wait', async (t) => {
  const queue = createTaskQueue()
  const order: string[] = []
  const ended = new FaultError('import_too_large', { endedBy: 'time' })
  const first = Promise.withResolvers<void>()
  const run = (namespace: string, task: () => Promise<void>) =>
    queue.run(namespace, undefined, () => {
      order.push(namespace)
      return task()
    })
  const greedy = t.rejects(run('greedy', () => first.promise))
  const again = t.rejects(run('greedy', () => Promise.reject(ended)))
  const others = [run('shop', async () => {}), run('shop', async () => {}), run('bank', async () => {})]
  first.reject(ended)
  await Promise.all([greedy, again, ...others])
  t.same(order, ['greedy', 'shop', 'bank', 'shop', 'greedy'])
  await run('greedy', async () => {})
  t.equal(order.at(-1), 'greedy', 'and is still served')
})
