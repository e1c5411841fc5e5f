import t, { type Test } from 'tap'
import type { KubeClient } from '../../src/kube/client.ts'
import { createImportStatus } from '../../src/kube/import-status.ts'
import { FakeClock } from '../fakes/clock.ts'
import { FakeKubeApi, type Seen, status } from '../fakes/kube-api.ts'
import { FakeLog } from '../fakes/log.ts'
import { importManifest } from '../harness/cluster/manifests.ts'
import { until } from '../harness/until.ts'

type Answer = ReturnType<NonNullable<FakeKubeApi['instead']>>

function edition(generation: number, more: object = {}): object {
  const manifest = importManifest()
  Object.assign(manifest.metadata, { generation, uid: 'u1', resourceVersion: `${generation}00` })
  return Object.assign(manifest, more)
}

async function bench(t: Test, answer: () => Answer = () => ({ status: 200, body: {} })) {
  const api = new FakeKubeApi()
  await api.start()
  const writes: Seen[] = []
  api.instead = (seen) => {
    writes.push(seen)
    return answer()
  }
  const clock = new FakeClock()
  const log = new FakeLog()
  const client = api.client(clock)
  const importStatus = createImportStatus({ client, clock, log, random: () => 0.5 })
  t.teardown(async () => {
    importStatus.close()
    client.close()
    await api.stop()
  })
  const later = (ms: number) => clock.advance(ms)
  const written = (count: number) => until(`${count} writes`, () => writes.length >= count)
  return { ...importStatus, writes, log, later, written }
}

t.test('a good import is accepted, a bad one is not, with every fault', async (t) => {
  const { report, writes, later, written } = await bench(t)
  report(edition(1), [])
  t.equal(writes.length, 0, 'not at once: another node may say it')
  await later(8_000)
  await written(1)
  const [write] = writes
  t.match(write, {
    method: 'PATCH',
    path: '/apis/deckhouse.io/v1alpha1/namespaces/my-namespace1/secretsstoreimports/python-backend/status',
    contentType: 'application/merge-patch+json',
    body: {
      metadata: { resourceVersion: '100' },
      status: {
        observedGeneration: 1,
        conditions: [{ type: 'Accepted', status: 'True', reason: 'Valid', observedGeneration: 1 }],
      },
    },
  })
  report(edition(2), ['spec.role: required', 'spec.x: unknown field'])
  await later(8_000)
  await written(2)
  const message = 'spec.role: required; spec.x: unknown field'
  t.match(writes[1]?.body, { status: { conditions: [{ status: 'False', reason: 'Invalid', message }] } })
})

t.test('a status that is there already is not written, whichever node wrote it', async (t) => {
  const first = await bench(t)
  first.report(edition(1), [])
  await first.later(8_000)
  await first.written(1)
  const said = Reflect.get(Object(first.writes[0]?.body), 'status')

  const second = await bench(t)
  second.report(edition(1), [])
  second.report(edition(1, { status: said }), [])
  await second.later(60_000)
  t.equal(second.writes.length, 0)
})

t.test('the conditions of others stay, and the time of one that is as it was', async (t) => {
  const { report, writes, later, written } = await bench(t)
  const lastTransitionTime = '2030-01-01T00:00:00Z'
  const theirs = { type: 'Theirs', status: 'True', lastTransitionTime }
  const conditions = [theirs, { type: 'Accepted', status: 'True', reason: 'Valid', lastTransitionTime }]
  report(edition(2, { status: { observedGeneration: 1, conditions } }), [])
  await later(8_000)
  await written(1)
  t.match(writes[0]?.body, {
    status: { conditions: [theirs, { type: 'Accepted', observedGeneration: 2, lastTransitionTime }] },
  })
})

t.test('each generation is reported once, also where another release contradicts', async (t) => {
  const { report, writes, later, written } = await bench(t)
  report(edition(1), [])
  await later(8_000)
  await written(1)
  const said = { observedGeneration: 1, conditions: [{ type: 'Accepted', status: 'False' }] }
  report(edition(1, { status: said }), [])
  await later(60_000)
  t.equal(writes.length, 1)
  const anew = edition(1)
  Object.assign(Reflect.get(anew, 'metadata'), { uid: 'u2' })
  report(anew, [])
  await later(8_000)
  await written(2)
})

t.test(
  'a write that fails is retried while the API server is broken, and left to the next version when the import changed',
  async (t) => {
    const answers: Answer[] = [status(503, 'Unavailable'), status(409, 'Conflict')]
    const { report, writes, later, written } = await bench(t, () => answers.shift() ?? { status: 200 })
    report(edition(1), [])
    await later(8_000)
    await written(1)
    await until('the second try', async () => {
      await later(10_000)
      return writes.length === 2
    })
    await later(120_000)
    t.equal(writes.length, 2, 'a conflict means that another version is coming')
  },
)

t.test('a missing permission is logged once, and nothing more is written', async (t) => {
  const { report, writes, later, written, log } = await bench(t, () => status(403, 'Forbidden'))
  report(edition(1), [])
  await later(8_000)
  await written(1)
  await until('the warning', () => log.lines.length > 0)
  t.match(log.lines, [{ level: 'warn', message: /rbac\.importStatus=true/ }])
  report(edition(2), [])
  await later(120_000)
  t.equal(writes.length, 1)
})

t.test('an import that is not followed any more gets no status', async (t) => {
  const { report, forget, writes, later, written } = await bench(t)
  report(edition(1), [])
  forget('my-namespace1', 'python-backend')
  forget('my-namespace1', 'unheard-of')
  await later(60_000)
  t.equal(writes.length, 0)
  report(edition(1), [])
  await later(8_000)
  await written(1)
})

t.test('of a thousand nodes that use one import few write', async (t) => {
  const delays: number[] = []
  const clock = new FakeClock()
  const after: FakeClock['after'] = (delayMs, task) => {
    delays.push(delayMs)
    return clock.after(delayMs, task)
  }
  for (let node = 0; node < 1000; node += 1) {
    const client = { server: '', call: async () => ({ status: 409, body: {}, retryAfterMs: undefined }) }
    const own = Object.assign(Object.create(clock), { after, now: () => clock.now() })
    const deps = { client: client as unknown as KubeClient, clock: own, log: new FakeLog() }
    createImportStatus({ ...deps, random: () => (node * 0.618) % 1 }).report(edition(1), [])
  }
  // What the first has written is with the others half a second later.
  const first = Math.min(...delays)
  const writers = delays.filter((delayMs) => delayMs < first + 500).length
  t.equal(delays.length, 1000)
  t.ok(writers <= 5, `${writers} of 1000 write, the first after ${Math.round(first)} ms`)
})
