import t from 'tap'
import { createTurns } from '../../src/sandbox/turns.ts'

/** Tasks that wait to be ended, in the order in which they began. */
function bench() {
  const turns = createTurns()
  const begun: string[] = []
  const ends = new Map<string, () => void>()
  const enter = (namespace: string, name: string, signal?: AbortSignal) =>
    turns.run(namespace, signal, () => {
      begun.push(name)
      return new Promise<void>((resolve) => ends.set(name, resolve))
    })
  const end = async (name: string) => {
    await new Promise(setImmediate)
    ends.get(name)?.()
    await new Promise(setImmediate)
  }
  return { turns, begun, enter, end }
}

t.test('a victim waits for one task of an attacker, however many there are', async (t) => {
  const { begun, enter, end } = bench()
  for (let at = 0; at < 100; at += 1) enter('attacker', `a${at}`)
  enter('victim', 'v0')
  enter('victim', 'v1')
  for (const name of ['a0', 'v0', 'a1', 'v1', 'a2', 'a3']) await end(name)
  t.strictSame(begun, ['a0', 'v0', 'a1', 'v1', 'a2', 'a3', 'a4'])
})

t.test('who gives up leaves the queue, and the others keep their places', async (t) => {
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

t.test('a task that fails gives its turn on', async (t) => {
  const { turns } = bench()
  const failing = turns.run('a', undefined, () => Promise.reject(new Error('no')))
  const next = turns.run('b', undefined, async () => 'done')
  await t.rejects(failing, { message: 'no' })
  t.equal(await next, 'done')
})
