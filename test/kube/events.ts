import t, { type Test } from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import type { Pod } from '../../src/core/ports/pod.ts'
import { createKubeNotifier } from '../../src/kube/events.ts'
import { FakeClock } from '../fakes/clock.ts'
import { FakeKubeApi, type Seen, status } from '../fakes/kube-api.ts'
import { FakeLog } from '../fakes/log.ts'
import { drainEventLoop } from '../harness/event-loop.ts'
import { until } from '../harness/until.ts'

const MINUTE_MS = 60_000
const never = new AbortController().signal
const pod: Pod = { name: 'app-1', namespace: 'shop', uid: 'uid-1', serviceAccount: 'app' }
const denied = new FaultError('read_denied', { path: 'secret/data/app', role: 'app' })

async function bench(t: Test) {
  const api = new FakeKubeApi()
  await api.start()
  api.instead = ({ method }) => ({ status: method === 'POST' ? 201 : 200, body: {} })
  const clock = new FakeClock()
  const log = new FakeLog()
  const client = api.client(clock)
  const notifier = createKubeNotifier({
    client,
    log,
    clock,
    driverName: 'secrets.example.org',
    nodeId: 'node1',
  })
  t.teardown(async () => {
    await notifier.close(AbortSignal.abort())
    client.close()
    await api.stop()
  })
  const calls = async (count: number) => {
    await until(`${count} calls`, () => api.seen.length >= count)
    await drainEventLoop()
    t.equal(api.seen.length, count)
    return api.seen
  }
  return { api, clock, log, notifier, calls }
}

const bodyOf = (seen: Seen | undefined) => seen?.body as Record<string, unknown>

t.test('a failure becomes a Warning on the pod', async (t) => {
  const { notifier, calls } = await bench(t)
  notifier.failed(pod, 'python-backend', denied)
  const [seen] = await calls(1)
  t.match(seen, {
    method: 'POST',
    path: '/apis/events.k8s.io/v1/namespaces/shop/events',
    body: {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { namespace: 'shop', name: /^app-1\.[0-9a-f]{16}$/ },
      eventTime: '2030-01-01T00:00:00.000000Z',
      type: 'Warning',
      reason: 'SecretsStoreImportFailed',
      action: 'Refresh',
      note: `python-backend: ${denied.message}`,
      regarding: { apiVersion: 'v1', kind: 'Pod', namespace: 'shop', name: 'app-1', uid: 'uid-1' },
      reportingController: 'secrets.example.org',
      reportingInstance: 'node1',
    },
  })
})

t.test('recovery and rotation are Normal, the latter with the names of the files', async (t) => {
  const { notifier, calls } = await bench(t)
  notifier.recovered(pod, 'python-backend')
  notifier.rotated(pod, 'python-backend', ['a', 'b'])
  const [recovered, rotated] = await calls(2)
  t.match(recovered?.body, { type: 'Normal', reason: 'SecretsStoreImportRecovered' })
  t.match(rotated?.body, {
    type: 'Normal',
    reason: 'SecretsStoreImportRotated',
    note: 'python-backend: updated a, b',
  })
})

t.test('a long message is cut between characters', async (t) => {
  const { notifier, calls } = await bench(t)
  notifier.failed(pod, 'x', new FaultError('invalid_request', { reason: 'ä'.repeat(600) }))
  const [seen] = await calls(1)
  const note = String(bodyOf(seen).note)
  t.ok(Buffer.byteLength(note) <= 1024 && Buffer.byteLength(note) >= 1020, `${Buffer.byteLength(note)} bytes`)
  t.match(note, /ä…$/)
  t.notMatch(note, /\uFFFD/)
})

t.test('an event that occurs again within ten minutes is written once more, with its count', async (t) => {
  const { notifier, clock, calls } = await bench(t)
  notifier.failed(pod, 'python-backend', denied)
  await calls(1)
  for (let times = 0; times < 4; times += 1) {
    await clock.advance(2 * MINUTE_MS)
    notifier.failed(pod, 'python-backend', denied)
  }
  await calls(1)
  await clock.advance(2 * MINUTE_MS)
  const [created, patched] = await calls(2)
  const name = (bodyOf(created).metadata as { name: string }).name
  t.match(patched, {
    method: 'PATCH',
    path: `/apis/events.k8s.io/v1/namespaces/shop/events/${name}`,
    contentType: 'application/merge-patch+json',
    body: { series: { count: 5, lastObservedTime: '2030-01-01T00:08:00.000000Z' } },
  })
})

t.test('nothing is written when there is no news', async (t) => {
  const { notifier, clock, calls } = await bench(t)
  notifier.failed(pod, 'python-backend', denied)
  await calls(1)
  await clock.advance(60 * MINUTE_MS)
  await calls(1)
  t.equal(clock.waiting, 0)
})

t.test('a countdown in the message does not make it another event', async (t) => {
  const { notifier, calls } = await bench(t)
  for (const retryAfterMs of [1000, 2000, 3000]) {
    notifier.failed(pod, 'x', new FaultError('sealed', { address: 'https://vault', retryAfterMs }))
  }
  await calls(1)
})

t.test('an event that expired meanwhile is created again', async (t) => {
  const { api, notifier, clock, calls } = await bench(t)
  notifier.failed(pod, 'python-backend', denied)
  await calls(1)
  api.instead = ({ method }) => (method === 'PATCH' ? status(404, 'NotFound') : { status: 201, body: {} })
  await clock.advance(11 * MINUTE_MS)
  notifier.failed(pod, 'python-backend', denied)
  const seen = await calls(3)
  t.same(
    seen.map(({ method }) => method),
    ['POST', 'PATCH', 'POST'],
  )
})

t.test('one pod writes ten at once and then one in five minutes, others are not held up by it', async (t) => {
  const { notifier, clock, calls } = await bench(t)
  for (let index = 0; index < 100; index += 1) notifier.rotated(pod, 'x', [`file-${index}`])
  await calls(10)
  notifier.rotated({ ...pod, name: 'app-2', uid: 'uid-2' }, 'x', ['file'])
  await calls(11)
  await clock.advance(5 * MINUTE_MS)
  notifier.rotated(pod, 'x', ['later'])
  notifier.rotated(pod, 'x', ['too much'])
  await calls(12)
})

t.test('a whole node writes fifty at once and then one a second', async (t) => {
  const { notifier, clock, calls } = await bench(t)
  const failAll = (from: number) => {
    for (let index = from; index < from + 500; index += 1) {
      notifier.failed({ ...pod, name: `app-${index}`, uid: `uid-${index}` }, 'x', denied)
    }
  }
  failAll(0)
  await calls(50)
  await clock.advance(3_000)
  failAll(1000)
  await calls(53)
})

t.test(
  'while the API server is away the caller does not notice, and what waited is written when it is back',
  async (t) => {
    const { api, notifier, clock, log } = await bench(t)
    await api.stop()
    notifier.failed(pod, 'python-backend', denied)
    for (let tries = 0; tries < 5; tries += 1) {
      await clock.advance(2_000)
      await drainEventLoop()
    }
    await api.start()
    await until('the event', async () => {
      await clock.advance(1000)
      return api.seen.length > 0
    })
    t.equal(api.seen.length, 1)
    t.same(log.lines, [])
  },
)

t.test('news that is too old is dropped, logged once', async (t) => {
  const { api, notifier, clock, log } = await bench(t)
  api.instead = () => status(503, 'ServiceUnavailable')
  notifier.failed(pod, 'x', denied)
  notifier.recovered(pod, 'x')
  await until('the loss', async () => {
    await clock.advance(10_000)
    return log.lines.length > 0
  })
  t.match(log.lines, [{ level: 'warn', fields: { reason: '503 ServiceUnavailable: ServiceUnavailable' } }])
  // The second is lost as soon as its own call is answered.
  await drainEventLoop()
  t.equal(log.lines.length, 1)
})

t.test('an event that may not be written is logged with the reason, once', async (t) => {
  const { api, notifier, log, calls } = await bench(t)
  api.instead = () => status(403, 'Forbidden', 'cannot create resource "events"')
  notifier.failed(pod, 'x', denied)
  notifier.recovered(pod, 'x')
  await calls(2)
  t.match(log.lines, [{ level: 'warn', fields: { reason: /cannot create resource "events"/ } }])
  t.equal(log.lines.length, 1)
})

t.test('no more than 256 wait', async (t) => {
  const { api, notifier, clock, log } = await bench(t)
  api.instead = () => 'hang'
  for (let index = 0; index < 400; index += 1) {
    notifier.failed({ ...pod, uid: `uid-${index}` }, 'x', denied)
    if (index % 40 === 0) await clock.advance(1_000 * 40)
  }
  t.match(log.messages('warn').length <= 1, true)
  t.ok(api.seen.length <= 30)
})

t.test('close writes queued events until its signal aborts', async (t) => {
  const { api, notifier } = await bench(t)
  notifier.failed(pod, 'x', denied)
  notifier.recovered(pod, 'x')
  await notifier.close(never)
  t.equal(api.seen.length, 2)
  notifier.failed({ ...pod, uid: 'uid-9' }, 'x', denied)
  await drainEventLoop()
  t.equal(api.seen.length, 2)
})

t.test('close does not wait for an API server that hangs', async (t) => {
  const { api, notifier } = await bench(t)
  api.instead = () => 'hang'
  notifier.failed(pod, 'x', denied)
  await until('the call', () => api.seen.length === 1)
  const stop = new AbortController()
  const closing = notifier.close(stop.signal)
  stop.abort()
  await closing
})
