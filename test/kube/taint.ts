import t, { type Test } from 'tap'
import { createTaintRemover } from '../../src/kube/taint.ts'
import { FakeClock } from '../fakes/clock.ts'
import { FakeKubeApi, status } from '../fakes/kube-api.ts'
import { FakeLog } from '../fakes/log.ts'
import { until } from '../harness/until.ts'

const never = new AbortController().signal
const KEY = 'vault-files-csi.example.org/starting'
const startup = { key: KEY, effect: 'NoSchedule' }
const other = { key: 'other', value: 'x', effect: 'NoExecute' }
const node = (...taints: object[]) => ({ metadata: { resourceVersion: '7' }, spec: { taints } })

async function bench(t: Test) {
  const api = new FakeKubeApi()
  await api.start()
  const clock = new FakeClock()
  const log = new FakeLog()
  const client = api.client(clock)
  t.teardown(async () => {
    client.close()
    await api.stop()
  })
  return { api, clock, log, remover: createTaintRemover({ client, clock, log, nodeId: 'node1', key: KEY }) }
}

t.test('the startup taint is removed and the others stay, unless they changed meanwhile', async (t) => {
  const { api, remover } = await bench(t)
  api.instead = () => ({ status: 200, body: node(startup, other) })
  await remover.remove(never)
  t.match(api.seen, [
    { method: 'GET', path: '/api/v1/nodes/node1' },
    { method: 'PATCH', body: { metadata: { resourceVersion: '7' }, spec: { taints: [other] } } },
  ])
})

t.test('a node without the taint is not written', async (t) => {
  const { api, remover } = await bench(t)
  for (const body of [node(other), { spec: {} }]) {
    api.instead = () => ({ status: 200, body })
    await remover.remove(never)
  }
  t.notOk(api.seen.some(({ method }) => method === 'PATCH'))
})

t.test('a conflict, a refusal and an API server that is away are tried again', async (t) => {
  const { api, clock, log, remover } = await bench(t)
  const answers = [
    status(500, 'InternalError', 'x'),
    { status: 200, body: node(startup) },
    status(409, 'Conflict', 'x'),
  ]
  api.instead = () => answers.shift() ?? { status: 200, body: node(startup) }
  const removing = remover.remove(never)
  for (const calls of [1, 3]) {
    await until('the calls of a try', () => api.seen.length === calls && clock.waiting > 0)
    await clock.advance(2_000)
  }
  await removing
  t.match(log.messages(), ['startup taint not removed yet, retrying', 'startup taint removed'])
})

t.test('after some minutes it is given up, and the log says why', async (t) => {
  const { api, clock, log, remover } = await bench(t)
  api.instead = () => status(403, 'Forbidden', 'cannot get resource "nodes"')
  let ended = false
  const removing = remover.remove(never).then(() => {
    ended = true
  })
  while (!ended) {
    await new Promise((resolve) => setImmediate(resolve))
    await clock.advance(2_000)
  }
  await removing
  t.match(log.lines.at(-1), { level: 'error', fields: { reason: /403 Forbidden/ } })
})
