import t from 'tap'
import { createTurns } from '../../src/kube/turns.ts'

const never = new AbortController().signal

/** Tasks that end when they are told to; `begun` says in which order they came to their turn. */
function bench(most: { all: number; namespace: number }) {
  const turns = createTurns(most)
  const begun: string[] = []
  const ends = new Map<string, () => void>()
  const ask = (namespace: string, name: string, signal = never) =>
    turns.run(
      namespace,
      () => {
        begun.push(name)
        return new Promise<void>((resolve) => ends.set(name, resolve))
      },
      signal,
    )
  const tick = () => new Promise((resolve) => setImmediate(resolve))
  const end = async (name: string) => {
    await tick()
    ends.get(name)?.()
    await tick()
  }
  return { begun, ask, end, tick }
}

t.test('namespaces come in turn, whoever asked first', async (t) => {
  const { begun, ask, end } = bench({ all: 1, namespace: 1 })
  const all = ['a1', 'a2', 'a3'].map((name) => ask('a', name))
  all.push(ask('b', 'b1'), ask('c', 'c1'))
  for (const name of ['a1', 'a2', 'b1', 'c1', 'a3']) await end(name)
  t.same(begun, ['a1', 'a2', 'b1', 'c1', 'a3'])
  await Promise.all(all)
})

t.test('one namespace cannot take all places', async (t) => {
  const { begun, ask, end, tick } = bench({ all: 4, namespace: 2 })
  const all = ['a1', 'a2', 'a3', 'a4'].map((name) => ask('a', name))
  all.push(ask('b', 'b1'))
  await tick()
  t.same(begun, ['a1', 'a2', 'b1'])
  for (const name of ['a1', 'a2', 'a3', 'a4', 'b1']) await end(name)
  await Promise.all(all)
  t.same(begun, ['a1', 'a2', 'b1', 'a3', 'a4'])
})

t.test('who gives up waiting takes no place, and who fails gives it back', async (t) => {
  const { begun, ask, end } = bench({ all: 1, namespace: 1 })
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
  const turns = createTurns({ all: 1, namespace: 1 })
  const ill = async () => {
    throw new Error('ill')
  }
  await t.rejects(turns.run('a', ill, never), { message: 'ill' })
  t.equal(await turns.run('a', async () => 'well', never), 'well')
})
