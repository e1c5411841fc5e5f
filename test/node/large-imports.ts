import t from 'tap'
import { sourceCall } from '../../src/core/imports/calls.ts'
import type { ImportSpec } from '../../src/core/imports/import.ts'
import { fileSpec, importSpec } from '../fakes/imports.ts'
import { faulty } from '../harness/faulty.ts'
import { MINUTE, NodeBench } from '../harness/node-bench.ts'

const KIB = 1024
const LARGE = 'secret/data/large'

function pod(namespace: string) {
  return { name: 'backend', namespace, uid: 'uid', serviceAccount: 'backend-sa' }
}

/** Namespaces with an import each; those of `large` read 500 KiB. */
function bench(large: readonly string[], small: readonly string[] = []): NodeBench {
  const made = new NodeBench()
  made.store.data.set(LARGE, { password: 'x'.repeat(500 * KIB) })
  for (const namespace of large) {
    made.imports.put(importSpec({ namespace, files: [fileSpec({ path: LARGE })] }))
  }
  for (const namespace of small) made.imports.put(importSpec({ namespace }))
  return made
}

/** Keeps writes of large files waiting, and counts those of each namespace. */
function holdWrites(made: NodeBench) {
  const running = new Map<string, number>()
  const most = { all: 0, ofOne: 0 }
  const ends: (() => void)[] = []
  const apply = made.node.files.apply
  made.node.files.apply = async (path, shape, files) => {
    const size = files.reduce((sum, { content }) => sum + content.byteLength, 0)
    if (size < 256 * KIB) return apply(path, shape, files)
    const namespace = path.split('/')[2]?.split('-')[0] ?? ''
    const add = (by: number) => running.set(namespace, (running.get(namespace) ?? 0) + by)
    add(1)
    most.ofOne = Math.max(most.ofOne, running.get(namespace) ?? 0)
    most.all = Math.max(
      most.all,
      [...running.values()].reduce((sum, count) => sum + count, 0),
    )
    await new Promise<void>((resolve) => ends.push(resolve))
    add(-1)
    return apply(path, shape, files)
  }
  return {
    most,
    async endAll() {
      for (const end of ends.splice(0)) end()
      await made.clock.advance(10)
    },
  }
}

t.test('large imports come up two at once, one of a namespace; small ones beside them at once', async (t) => {
  const made = bench(['a', 'b', 'c'], ['small'])
  const writes = holdWrites(made)
  const published = ['a', 'a', 'a', 'a', 'b', 'c'].map((namespace, index) =>
    made.publish({ volumeId: `${namespace}-${index}`, pod: pod(namespace) }),
  )
  await made.clock.advance(10)
  await made.publish({ volumeId: 'small-1', pod: pod('small') })
  t.equal(made.content('small-1'), 'one')
  for (let i = 0; i < 8; i++) await writes.endAll()
  await Promise.all(published)
  t.same(writes.most, { all: 2, ofOne: 1 })
})

t.test('behind ten large ones of two other namespaces a large one is third', async (t) => {
  const made = bench(['a', 'b', 'victim'])
  const writes = holdWrites(made)
  const others = Array.from({ length: 10 }, (_, index) =>
    made.publish({ volumeId: `a-${index}`, pod: pod(index % 2 ? 'a' : 'b') }),
  )
  await made.clock.advance(10)
  let isUp = false
  const mine = made.publish({ volumeId: 'victim-1', pod: pod('victim') }).then(() => {
    isUp = true
  })
  await made.clock.advance(10)
  // Those under way, one more of each of the others, then it.
  for (let i = 0; i < 3; i++) await writes.endAll()
  t.ok(isUp)
  for (let i = 0; i < 20; i++) await writes.endAll()
  await Promise.all([mine, ...others])
})

t.test(
  'full volumes of one namespace that rotate at once do it one after the other, and all do',
  async (t) => {
    const made = bench(['a'])
    const count = 20
    for (let i = 0; i < count; i++) await made.publish({ volumeId: `a-${i}`, pod: pod('a') })
    const writes = holdWrites(made)
    made.store.data.set(LARGE, { password: 'y'.repeat(500 * KIB) })
    for (let second = 0; second < 150; second++) {
      await made.clock.advance(1_000)
      await writes.endAll()
    }
    for (let i = 0; i < count; i++) t.match(made.content(`a-${i}`), /^y/)
    t.equal(writes.most.all, 1)
  },
)

t.test(
  'known to be large, a volume waits before it reads; grown small again, it waits no more',
  async (t) => {
    const made = bench(['a'])
    await made.publish({ volumeId: 'a-1', pod: pod('a') })
    t.equal(made.store.reads.length, 2, 'found out once')
    made.store.data.set(LARGE, { password: 'y'.repeat(500 * KIB) })
    await made.clock.advance(2.2 * MINUTE)
    t.equal(made.store.reads.length, 3)
    made.store.data.set(LARGE, { password: 'small' })
    await made.clock.advance(2.2 * MINUTE)
    t.equal(made.content('a-1'), 'small')
    const writes = holdWrites(made)
    made.imports.put(importSpec({ namespace: 'b', files: [fileSpec({ path: 'secret/data/other' })] }))
    made.store.data.set('secret/data/other', { password: 'z'.repeat(500 * KIB) })
    t.equal(writes.most.all, 0)
  },
)

t.test('a task that holds a place for too long loses it, with a fault that is retried', async (t) => {
  const made = bench(['a'])
  const { read } = made.store
  let isHanging = false
  made.store.read = (identity, path, tokens, signal) => {
    if (!isHanging) return read.call(made.store, identity, path, tokens, signal)
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason))
    })
  }
  await made.publish({ volumeId: 'a-1', pod: pod('a') })
  isHanging = true
  made.store.data.set(LARGE, { password: 'y'.repeat(500 * KIB) })
  await made.clock.advance(2.5 * MINUTE)
  t.match(made.notifier.events, ['backend failed deadline'])
  isHanging = false
  await made.publish({ volumeId: 'a-2', pod: pod('a') })
  await made.clock.advance(2.5 * MINUTE)
  t.match(made.content('a-1'), /^y/)
})

t.test('a template that makes much of little waits too', async (t) => {
  const template = `{% for i in (1..400) %}{{ password }}{% endfor %}`
  const made = new NodeBench({ files: [fileSpec({ key: undefined, template })] })
  made.setPassword('x'.repeat(KIB))
  await made.publish()
  t.equal(made.content()?.length, 400 * KIB)
  t.equal(made.store.reads.length, 2)
})

const tooMuch: Record<string, [Partial<ImportSpec>, (made: NodeBench) => void, RegExp]> = {
  'more than 128 paths': [
    { files: Array.from({ length: 129 }, (_, n) => fileSpec({ name: `f${n}`, path: `secret/data/${n}` })) },
    () => {},
    /129 paths, the limit is 128/,
  ],
  'more than twice a volume in answers': [
    { files: Array.from({ length: 20 }, (_, n) => fileSpec({ name: `f${n}`, path: `secret/data/${n}` })) },
    (made) => {
      for (let n = 0; n < 20; n++)
        made.store.data.set(`secret/data/${n}`, { password: 'x'.repeat(KIB * KIB) })
    },
    /more than 8388608 bytes, twice what a volume may hold/,
  ],
  'more than 128 KiB of leases': [
    {
      files: [
        fileSpec({
          key: 'large',
          call: sourceCall({
            ...{ name: 'web', path: 'pki/issue/web', method: 'PUT' },
            ...{ version: undefined, data: undefined, lease: undefined },
          }),
        }),
      ],
    },
    (made) => {
      const issue = made.issuer.issue.bind(made.issuer)
      made.issuer.issue = async (...args) => ({
        ...(await issue(...args)),
        data: { values: new Map([['large', 'x'.repeat(200 * KIB)]]), version: undefined },
      })
    },
    /what is issued for it holds \d+ bytes, the limit is 131072/,
  ],
}

for (const [what, [spec, prepare, words]] of Object.entries(tooMuch)) {
  t.test(`${what}: refused, and nothing of it stays`, async (t) => {
    const made = new NodeBench(spec)
    prepare(made)
    await t.rejects(made.publish(), faulty('import_too_large', words))
    t.equal(made.node.mounts.size, 0)
    t.equal(made.issuer.tokensAlive.size, 0)
    t.equal(made.service.budget.reservedBytes(), 0)
    t.ok(made.store.reads.length <= 36, `${made.store.reads.length} reads: it ends as the answers come`)
  })
}

t.test('one import reads eight paths at a time', async (t) => {
  const files = Array.from({ length: 100 }, (_, n) => fileSpec({ name: `f${n}`, path: `secret/data/${n}` }))
  const made = new NodeBench({ files })
  for (let n = 0; n < 100; n++) made.store.data.set(`secret/data/${n}`, { password: 'x' })
  let running = 0
  let most = 0
  const read = made.store.read.bind(made.store)
  made.store.read = async (...args) => {
    running += 1
    most = Math.max(most, running)
    await new Promise((resolve) => setImmediate(resolve))
    running -= 1
    return read(...args)
  }
  await made.publish()
  t.equal(most, 8)
  t.equal(made.content('volume-1', 'f99'), 'x')
})

t.test('paths that turn out to be leased for ever do not hold a publish', async (t) => {
  const files = Array.from({ length: 40 }, (_, n) => fileSpec({ name: `f${n}`, path: `db/creds/${n}` }))
  const made = new NodeBench({ files })
  for (let n = 0; n < 40; n++) made.store.data.set(`db/creds/${n}`, { password: 'x' })
  const read = made.store.read.bind(made.store)
  made.store.read = async (identity, path, ...rest) => {
    const answer = await read(identity, path, ...rest)
    const next = Math.floor(made.store.discarded.length)
    const isLeased = path === `db/creds/${next}`
    const lease = { id: `${path} ${next}`, leasedAt: 0, durationMs: MINUTE, renewable: true }
    return isLeased ? { ...answer, lease } : answer
  }
  await t.rejects(made.publish(), faulty('import_too_large', /leased to each reader/))
  t.ok(made.store.discarded.length <= 8)
})
