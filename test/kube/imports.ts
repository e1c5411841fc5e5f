import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createKubeImports, type KubeImports } from '../../src/kube/imports.ts'
import { FakeClock } from '../fakes/clock.ts'
import { FakeLog } from '../fakes/log.ts'
import { faulty } from '../support/faulty.ts'
import { FakeKubeApi, status } from '../support/kube-api.ts'
import { until } from '../support/until.ts'

const NAMESPACE = 'my-namespace1'
const never = new AbortController().signal

type Bench = {
  api: FakeKubeApi
  clock: FakeClock
  log: FakeLog
  imports: KubeImports
  changes: string[]
  /** Time moves on in small steps until it comes true. */
  inTime(what: string, check: () => unknown): Promise<void>
}

async function bench(t: Test, prepare: (api: FakeKubeApi) => void = () => {}): Promise<Bench> {
  const api = new FakeKubeApi()
  await api.start()
  prepare(api)
  const clock = new FakeClock()
  const log = new FakeLog()
  const client = api.client(clock)
  const imports = createKubeImports({ client, log, clock, random: () => 0.5 })
  const changes: string[] = []
  imports.onChange((namespace, name) => changes.push(`${namespace}/${name}`))
  t.teardown(async () => {
    await imports.close()
    client.close()
    await api.stop()
  })
  const inTime = async (what: string, check: () => unknown) => {
    await until(what, async () => {
      if (await check()) return true
      await clock.advance(100)
      return false
    })
  }
  return { api, clock, log, imports, changes, inTime }
}

async function started(t: Test, prepare?: (api: FakeKubeApi) => void): Promise<Bench> {
  const made = await bench(t, prepare)
  await made.imports.start(never)
  await until('the watch', () => made.api.openWatches === 1)
  made.changes.length = 0
  return made
}

/** Moves time on, with a moment for the sockets after each half second. */
async function pass(clock: FakeClock, totalMs: number): Promise<void> {
  for (let passed = 0; passed < totalMs; passed += 500) {
    await clock.advance(500)
    await setTimeout(2)
  }
}

t.test('serves what is listed once start has resolved', async (t) => {
  const { imports } = await started(t, (api) => api.put('app'))
  t.equal(imports.synced(), true)
  t.match(imports.get(NAMESPACE, 'app'), { name: 'app', role: 'my-namespace1_backend' })
  t.throws(() => imports.get(NAMESPACE, 'apq'), faulty('import_not_found', /"app"/))
})

t.test('reads a long listing page by page', async (t) => {
  const { api, imports } = await started(t, (api) => {
    for (let index = 0; index < 600; index += 1) api.put(`app-${index}`)
  })
  t.equal(imports.get(NAMESPACE, 'app-599').name, 'app-599')
  t.equal(api.requests('list').length, 3)
})

t.test('an edit, a new import and a deletion are told at once', async (t) => {
  const { api, imports, changes } = await started(t, (api) => api.put('app'))
  api.put('app', (spec) => Object.assign(spec, { role: 'other' }))
  await until('the edit', () => changes.length === 1)
  t.equal(imports.get(NAMESPACE, 'app').role, 'other')
  api.put('new')
  api.delete('app')
  await until('both', () => changes.length === 3)
  t.same(changes, [`${NAMESPACE}/app`, `${NAMESPACE}/new`, `${NAMESPACE}/app`])
  t.throws(() => imports.get(NAMESPACE, 'app'), faulty('import_not_found'))
})

t.test('a touch that leaves the spec as it was is no change', async (t) => {
  const { api, changes } = await started(t, (api) => api.put('app'))
  api.put('app')
  api.put('last')
  await until('the one after it', () => changes.length > 0)
  t.same(changes, [`${NAMESPACE}/last`])
})

t.test('an import that becomes faulty stays as it was good, and the log names the fault once', async (t) => {
  const { api, imports, changes, log } = await started(t, (api) => api.put('app'))
  api.put('app', (spec) => Object.assign(spec, { role: 'a/b' }))
  api.put('app', (spec) => Object.assign(spec, { role: 'a/b' }))
  api.put('last')
  await until('the one after it', () => changes.length > 0)
  t.same(changes, [`${NAMESPACE}/last`])
  t.equal(imports.get(NAMESPACE, 'app').role, 'my-namespace1_backend')
  const told = log.lines.filter(({ level }) => level === 'error')
  t.match(told, [
    { fields: { namespace: NAMESPACE, importName: 'app', faults: [/^spec\.role: must match/] } },
  ])
  t.equal(told.length, 1)
})

t.test('an import that never was good says what is wrong with it', async (t) => {
  const { imports } = await started(t, (api) =>
    api.put('app', (spec) => Object.assign(spec, { role: 'a/b' })),
  )
  t.throws(() => imports.get(NAMESPACE, 'app'), faulty('import_invalid', /spec\.role: must match/))
})

t.test('a watch that the server ends goes on from the last version, bookmarks included', async (t) => {
  const { api, changes, inTime, clock } = await started(t, (api) => api.put('app'))
  api.bookmark()
  api.bookmark()
  await clock.advance(20_000)
  api.endWatches()
  await inTime('the next watch', () => api.openWatches === 1)
  t.equal(api.requests('watch')[1]?.query.get('resourceVersion'), '103')
  t.equal(api.requests('list').length, 1)
  api.put('new')
  await until('the change', () => changes.length === 1)
})

t.test(
  'what happened while the API server was away is told when it is back; until then the rest is served',
  async (t) => {
    const { api, imports, changes, inTime, log } = await started(t, (api) => api.put('app'))
    await api.stop()
    api.put('app', (spec) => Object.assign(spec, { role: 'other' }))
    await inTime('a refused connection', () => log.messages('warn').length > 1)
    t.equal(imports.get(NAMESPACE, 'app').role, 'my-namespace1_backend')
    t.throws(
      () => imports.get(NAMESPACE, 'new'),
      faulty('imports_unavailable', /"new" is not among those known, and .*ECONNREFUSED/),
      'only an API server that answers can say that it does not exist',
    )
    await api.start()
    await inTime('the change', () => changes.length === 1)
    t.equal(imports.get(NAMESPACE, 'app').role, 'other')
    t.equal(api.requests('list').length, 1, 'nothing had to be listed again')
  },
)

t.test('a version that is too old leads to a new listing, which tells what came and went', async (t) => {
  const { api, changes, inTime } = await started(t, (api) => {
    api.put('stays')
    api.put('goes')
    api.put('changes')
  })
  await api.stop()
  api.delete('goes')
  api.put('changes', (spec) => Object.assign(spec, { role: 'other' }))
  api.put('comes')
  api.compactedAt = 1000
  await api.start()
  await inTime('the listing', () => changes.length === 3)
  t.same(
    changes.sort(),
    ['changes', 'comes', 'goes'].map((name) => `${NAMESPACE}/${name}`),
  )
  t.equal(api.requests('list').length, 2)
})

t.test('410 in the middle of a watch leads to a new listing', async (t) => {
  const { api, changes, inTime } = await started(t, (api) => api.put('app'))
  api.bookmark()
  api.fail(410)
  await inTime('the next watch', () => api.requests('watch').length === 2)
  t.equal(api.requests('list').length, 2)
  t.same(changes, [])
})

t.test('a server that forgets every version is not asked without end', async (t) => {
  const { api, clock, imports } = await bench(t, (api) => {
    api.compactedAt = 1000
  })
  await imports.start(never)
  await pass(clock, 60_000)
  const listings = api.requests('list').length
  t.ok(listings > 2 && listings < 15, `${listings} listings in a minute`)
})

t.test('a watch that falls silent is given up and taken anew', async (t) => {
  const { api, clock, changes, log, inTime } = await started(t, (api) => api.put('app'))
  await clock.advance(149_000)
  t.equal(api.requests('watch').length, 1)
  await clock.advance(2_000)
  await inTime('the next watch', () => api.requests('watch').length === 2)
  t.match(log.lines.find(({ level }) => level === 'warn')?.fields.reason, /silent for 150 s/)
  await until('the next watch', () => api.openWatches > 0)
  api.put('new')
  await until('the change', () => changes.length === 1)
})

t.test('a bookmark is a sign of life', async (t) => {
  const { api, clock, changes } = await started(t, (api) => api.put('app'))
  for (let minute = 0; minute < 4; minute += 1) {
    await clock.advance(60_000)
    api.bookmark()
    api.put(`mark-${minute}`)
    await until('the mark', () => changes.length === minute + 1)
  }
  t.equal(api.requests('watch').length, 1)
})

t.test('a server that hangs at the head of its answer is asked again', async (t) => {
  const { api, inTime, imports, clock, log } = await bench(t, (api) => api.put('app'))
  api.instead = () => 'hang'
  const starting = imports.start(never)
  await until('the first call', () => api.seen.length === 1)
  await clock.advance(30_000)
  await starting
  await inTime('the loss', () => log.messages('warn').length > 1)
  t.throws(() => imports.get(NAMESPACE, 'app'), faulty('imports_unavailable', /no answer within 30 s/))
  api.instead = undefined
  await inTime('the listing', () => imports.synced())
})

t.test('start does not wait for an API server that is away: the plugin comes up, and says so', async (t) => {
  const { api, imports, clock, log, inTime } = await bench(t)
  await api.stop()
  const starting = imports.start(never)
  await inTime('the first failure', () => log.messages('warn').length > 0)
  await clock.advance(10_000)
  await starting
  t.equal(imports.synced(), false)
  t.throws(() => imports.get(NAMESPACE, 'app'), faulty('imports_unavailable', /ECONNREFUSED/))
  api.put('app')
  await api.start()
  await inTime('the listing', () => imports.synced())
  t.equal(imports.get(NAMESPACE, 'app').name, 'app')
})

t.test('start gives up waiting with its signal', async (t) => {
  const { api, imports } = await bench(t)
  api.instead = () => 'hang'
  await t.rejects(imports.start(AbortSignal.abort(new Error('stopping'))), { message: 'stopping' })
})

t.test('refusals name what is missing', async (t) => {
  for (const [code, reason, told] of [
    [403, 'Forbidden', /ClusterRole needs list and watch on secretsstoreimports/],
    [404, 'NotFound', /is the CRD secretsstoreimports\.deckhouse\.io installed/],
    [401, 'Unauthorized', /does not accept the plugin's service-account token/],
    [500, 'InternalError', /500 InternalError/],
  ] as const) {
    const { api, imports, clock, log, inTime } = await bench(t)
    api.instead = () => status(code, reason)
    const starting = imports.start(never)
    await inTime(reason, () => log.messages('warn').length > 0)
    await clock.advance(10_000)
    await starting
    t.throws(() => imports.get(NAMESPACE, 'app'), faulty('imports_unavailable', told))
  }
})

t.test('an outage is logged once, not at every try', async (t) => {
  const { api, log, clock } = await started(t, (api) => api.put('app'))
  await api.stop()
  await pass(clock, 60_000)
  t.ok(log.messages('warn').length <= 2, log.text)
  await api.start()
})

t.test('close ends the watch and lets nothing run on', async (t) => {
  const { api, imports, clock } = await started(t, (api) => api.put('app'))
  await imports.close()
  await until('the end of the watch', () => api.openWatches === 0)
  t.equal(clock.waiting, 0)
})
