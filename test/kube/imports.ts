import t, { type Test } from 'tap'
import { parseImport } from '../../src/core/imports/import.ts'
import { createKubeImports, type KubeImports } from '../../src/kube/imports.ts'
import { FakeClock } from '../fakes/clock.ts'
import { FakeKubeApi, type Seen, status } from '../fakes/kube-api.ts'
import { FakeLog } from '../fakes/log.ts'
import { drainEventLoop } from '../harness/event-loop.ts'
import { faulty } from '../harness/faulty.ts'
import { until } from '../harness/until.ts'

const NAMESPACE = 'my-namespace1'
const never = new AbortController().signal

type Options = Partial<Parameters<typeof createKubeImports>[0]>

type Bench = {
  api: FakeKubeApi
  clock: FakeClock
  log: FakeLog
  imports: KubeImports
  changes: string[]
  roleOf(name: string): Promise<string>
  /** Time moves on in small steps until it comes true. */
  inTime(what: string, check: () => unknown): Promise<void>
}

async function bench(
  t: Test,
  prepare: (api: FakeKubeApi) => void = () => {},
  options: Options = {},
): Promise<Bench> {
  const api = new FakeKubeApi()
  await api.start()
  prepare(api)
  const clock = new FakeClock()
  const log = new FakeLog()
  const client = api.client(clock)
  const imports = createKubeImports({ client, log, clock, random: () => 0.5, ...options })
  const changes: string[] = []
  imports.onChange((namespace, name) => changes.push(`${namespace}/${name}`))
  t.teardown(async () => {
    await imports.close()
    client.close()
    await api.stop()
  })
  const inTime = async (what: string, check: () => unknown) => {
    const step = async () => {
      if (await check()) return true
      await clock.advance(100)
      return false
    }
    await until(what, step, { everyMs: 1 })
  }
  const roleOf = async (name: string) => (await imports.get(NAMESPACE, name, never)).role
  return { api, clock, log, imports, changes, roleOf, inTime }
}

/** Started, with these imports followed. */
async function following(
  t: Test,
  names: readonly string[],
  prepare?: (api: FakeKubeApi) => void,
  options?: Options,
): Promise<Bench> {
  const made = await bench(
    t,
    (api) => {
      for (const name of names) api.put(name)
      prepare?.(api)
    },
    options,
  )
  await made.imports.start(never)
  for (const name of names) await made.imports.get(NAMESPACE, name, never)
  await until('the watches', () => made.api.openWatches === names.length)
  made.api.seen.length = 0
  return made
}

/** Reads of one import each. */
function reads(api: FakeKubeApi): Seen[] {
  return api
    .requests('list')
    .filter(({ query, path }) => query.has('fieldSelector') && path.includes('/namespaces/'))
}

/** Moves time on, with a moment for the sockets after each half second. */
async function pass(clock: FakeClock, totalMs: number): Promise<void> {
  for (let passed = 0; passed < totalMs; passed += 500) {
    await clock.advance(500)
    await drainEventLoop(20)
  }
}

t.test('only a requested import is read, and then served from memory', async (t) => {
  const { api, imports } = await bench(t, (api) => {
    for (let index = 0; index < 600; index += 1) api.put(`app-${index}`)
  })
  await imports.start(never)
  t.equal(imports.synced(), true)
  t.equal(api.seen.length, 1, 'one small question at start')
  const spec = await imports.get(NAMESPACE, 'app-7', never)
  t.match(spec, { name: 'app-7', role: 'my-namespace1_backend' })
  t.equal(await imports.get(NAMESPACE, 'app-7', never), spec, 'the same object')
  await until('the watch', () => api.openWatches === 1)
  t.equal(api.seen.length, 3)
  for (const { query } of api.seen.slice(1)) t.equal(query.get('fieldSelector'), 'metadata.name=app-7')
})

t.test('many that ask for one import at once share one reading', async (t) => {
  const { api, imports } = await bench(t, (api) => api.put('app'))
  await Promise.all(Array.from({ length: 100 }, () => imports.get(NAMESPACE, 'app', never)))
  t.equal(reads(api).length, 1)
})

t.test('one that does not exist is not followed, and the message names those that do', async (t) => {
  const { api, imports } = await following(t, ['app'], (api) => api.put('other', undefined, 'elsewhere'))
  const ask = (name: string) => imports.get(NAMESPACE, name, never)
  await t.rejects(ask('apq'), faulty('import_not_found', /there exist "app";/))
  for (let times = 0; times < 50; times += 1) await t.rejects(ask(`unheard-${times}`), /there exist "app"/)
  const asked = api.requests('list').filter(({ accept }) => accept.includes('as=Table'))
  t.equal(asked.length, 1, 'the names are asked for once in a while')
  t.match(asked[0]?.query.toString(), /includeObject=None/)
  t.equal(api.openWatches, 1)
  api.put('apq')
  t.equal((await ask('apq')).name, 'apq', 'it is looked for anew each time')
})

t.test('an edit and a deletion are reported at once, those of other imports never', async (t) => {
  const { api, imports, changes, roleOf, inTime } = await following(t, ['app', 'goes'])
  api.put('app', (spec) => Object.assign(spec, { role: 'other' }))
  api.put('unused', (spec) => Object.assign(spec, { role: 'other' }))
  await inTime('the edit', () => changes.length === 1)
  t.equal(await roleOf('app'), 'other')
  api.delete('goes')
  await inTime('the deletion', () => changes.length === 2)
  t.same(changes, [`${NAMESPACE}/app`, `${NAMESPACE}/goes`])
  await t.rejects(roleOf('goes'), faulty('import_not_found', /there exist "app", "unused"/))
  api.put('goes')
  await inTime('its return', () => changes.length === 3)
  t.equal((await imports.get(NAMESPACE, 'goes', never)).name, 'goes', 'a used one is followed on')
})

t.test('a validated edition is not validated again: touches, conditions, new reads', async (t) => {
  let validations = 0
  const validate = async (manifest: unknown) => {
    validations += 1
    return parseImport(manifest)
  }
  const { api, changes, imports, inTime, log } = await following(t, ['app'], undefined, { validate })
  const spec = await imports.get(NAMESPACE, 'app', never)
  api.put('app')
  api.fail(410)
  await inTime('the next watch', () => api.requests('watch').length === 1)
  t.equal(reads(api).length, 1)
  t.equal(validations, 1)
  t.equal(await imports.get(NAMESPACE, 'app', never), spec)
  t.same(changes, [])
  t.same(log.messages('info'), ['API server answers', 'import followed'])
})

t.test('a burst of edits is validated a few times, and the last of them counts', async (t) => {
  let validations = 0
  const validate = async (manifest: unknown) => {
    validations += 1
    return parseImport(manifest)
  }
  const { api, clock, roleOf, inTime } = await following(t, ['app'], undefined, { validate })
  for (let edit = 0; edit < 1000; edit += 1) {
    api.put('app', (spec) => Object.assign(spec, { role: `role-${edit}` }))
    await clock.advance(20)
    if (edit % 10 === 0) await drainEventLoop(20)
  }
  await inTime('the last', async () => (await roleOf('app')) === 'role-999')
  t.ok(validations > 3 && validations < 12, `${validations} of 1000 edits in 20 s were validated`)
})

t.test('an import that becomes faulty stays as it was good, and the log names the fault once', async (t) => {
  const { api, clock, changes, log, roleOf, inTime } = await following(t, ['app', 'last'])
  api.put('app', (spec) => Object.assign(spec, { role: 'a/b' }))
  await inTime('the fault', () => log.messages('error').length > 0)
  api.put('app', (spec) => Object.assign(spec, { role: 'a/b', defaultMode: 0o400 }))
  await clock.advance(5_000)
  api.put('last', (spec) => Object.assign(spec, { role: 'other' }))
  await inTime('the one after it', () => changes.length > 0)
  t.same(changes, [`${NAMESPACE}/last`])
  t.equal(await roleOf('app'), 'my-namespace1_backend')
  const told = log.lines.filter(({ level }) => level === 'error')
  t.match(told, [
    { fields: { namespace: NAMESPACE, importName: 'app', faults: [/^spec\.role: must match/] } },
  ])
  t.equal(told.length, 1)
})

t.test('an import that never was valid is rejected with its faults, and is followed', async (t) => {
  const { api, imports, roleOf, inTime } = await bench(t, (api) =>
    api.put('app', (spec) => Object.assign(spec, { role: 'a/b' })),
  )
  await imports.start(never)
  await t.rejects(roleOf('app'), faulty('import_invalid', /spec\.role: must match/))
  await until('the watch', () => api.openWatches === 1)
  api.put('app')
  await inTime('its mending', async () => (await roleOf('app').catch(() => '')) !== '')
})

t.test('a validation that fails is a fault of that import only, and is retried', async (t) => {
  let isIll = true
  const validate = async (manifest: unknown) => {
    if (isIll && JSON.stringify(manifest).includes('"ill"'))
      throw new TypeError('demanded.every is no function')
    return parseImport(manifest)
  }
  const { imports, roleOf, inTime } = await following(t, ['app'], (api) => api.put('ill'), { validate })
  await t.rejects(roleOf('ill'), faulty('import_invalid', /could not be judged: demanded\.every/))
  t.equal(await roleOf('app'), 'my-namespace1_backend')
  isIll = false
  await inTime('another try', async () => (await roleOf('ill').catch(() => '')) !== '')
  t.equal((await imports.get(NAMESPACE, 'ill', never)).name, 'ill')
})

t.test('the faults of a hostile import are bounded', async (t) => {
  const validate = async () => ({ faults: Array.from({ length: 10_000 }, () => 'x'.repeat(10_000)) })
  const { log, roleOf } = await bench(t, (api) => api.put('app'), { validate })
  const error = await roleOf('app').catch((thrown: Error) => thrown)
  t.match(error, { fault: 'import_invalid' })
  t.ok((error as Error).message.length < 5_000)
  t.ok(log.text.length < 50_000)
})

t.test('a watch that the server ends goes on from the last version, bookmarks included', async (t) => {
  const { api, changes, inTime, clock } = await following(t, ['app'])
  api.bookmark()
  api.bookmark()
  await drainEventLoop()
  await clock.advance(20_000)
  api.endWatches()
  await inTime('the next watch', () => api.openWatches === 1)
  t.equal(api.requests('watch')[0]?.query.get('resourceVersion'), '103')
  t.equal(api.requests('list').length, 0)
  api.put('app', (spec) => Object.assign(spec, { role: 'other' }))
  await inTime('the change', () => changes.length === 1)
})

t.test('used imports are served while the API server is away, others get a clear error', async (t) => {
  const { api, clock, changes, inTime, log, roleOf, imports } = await following(t, ['app'], (api) =>
    api.put('unused'),
  )
  await api.stop()
  api.put('app', (spec) => Object.assign(spec, { role: 'other' }))
  await inTime('a refused connection', () => log.messages('warn').length > 0)
  await pass(clock, 10_000)
  t.equal(await roleOf('app'), 'my-namespace1_backend')
  await t.rejects(roleOf('unused'), faulty('imports_unavailable', /ECONNREFUSED/))
  await api.start()
  await inTime('the change', () => changes.length === 1)
  t.equal(await roleOf('app'), 'other')
  t.equal(reads(api).length, 0, 'nothing had to be read again')
  t.equal((await imports.get(NAMESPACE, 'unused', never)).name, 'unused')
  t.ok(log.messages('warn').length <= 2, 'the outage is told once, its end and its going on')
  t.equal(log.messages('info').filter((message) => message === 'API server answers').length, 2)
})

t.test('one that was deleted may exist again while the API server is away', async (t) => {
  const { api, changes, inTime, log, roleOf } = await following(t, ['app'])
  api.delete('app')
  await inTime('the deletion', () => changes.length === 1)
  await api.stop()
  await inTime('the loss', () => log.messages('warn').length > 0)
  await t.rejects(roleOf('app'), faulty('imports_unavailable', /"app" is not among those known, and .*ECONN/))
  await api.start()
})

t.test(
  'a restarted API server is asked by one until it answers, and then by all, over some seconds and from its memory',
  async (t) => {
    const names = Array.from({ length: 30 }, (_, index) => `app-${index}`)
    let turn = 0
    const random = () => (turn++ % 30) / 30
    const { api, clock, log, inTime } = await following(t, names, undefined, { random })
    await api.stop()
    await inTime('the loss', () => log.messages('warn').length > 0)
    await pass(clock, 20_000)
    api.compactedAt = 1000
    await api.start()
    api.seen.length = 0
    const at = new Map<number, number>()
    await inTime('all to be read again', () => {
      at.set(clock.monotonic(), reads(api).length)
      return reads(api).length === names.length
    })
    for (const { query } of reads(api)) {
      t.equal(query.get('resourceVersionMatch'), 'NotOlderThan')
      t.ok(Number(query.get('resourceVersion')) > 100)
    }
    const probes = api.requests('list').length - reads(api).length
    t.equal(probes, 1, 'one question for all')
    const [first = 0] = [...at].find(([, count]) => count > 0) ?? []
    const [last = 0] = [...at].at(-1) ?? []
    t.ok(last - first > 3_000, `read over ${last - first} ms`)
  },
)

t.test('while it is away few ask, however many imports are followed', async (t) => {
  const names = Array.from({ length: 30 }, (_, index) => `app-${index}`)
  const { api, clock } = await following(t, names)
  api.instead = () => status(503, 'Unavailable')
  api.endWatches()
  await pass(clock, 60_000)
  t.ok(api.seen.length < 30 + 30, `${api.seen.length} requests in a minute`)
})

t.test('a version that is too old leads to another read, which finds the change', async (t) => {
  const { api, changes, inTime } = await following(t, ['stays', 'goes', 'changes'])
  await api.stop()
  api.delete('goes')
  api.put('changes', (spec) => Object.assign(spec, { role: 'other' }))
  api.compactedAt = 1000
  await api.start()
  await inTime('the readings', () => changes.length === 2 && reads(api).length === 3)
  t.same(
    changes.sort(),
    ['changes', 'goes'].map((name) => `${NAMESPACE}/${name}`),
  )
})

t.test('when the cache of the API server stays behind, etcd is read', async (t) => {
  const { api, inTime } = await following(t, ['app'])
  // As after a restore from a backup: no version ever comes to ours.
  api.instead = ({ query }) =>
    query.get('resourceVersionMatch') ? status(504, 'Timeout', 'Too large resource version') : undefined
  api.fail(410)
  await inTime('a reading', () => reads(api).some(({ query }) => !query.has('resourceVersion')))
  await inTime('the watch', () => api.openWatches > 0)
})

t.test('a server that forgets every version is not asked without end', async (t) => {
  const { api, clock, imports } = await bench(t, (api) => {
    api.put('app')
    api.compactedAt = 1000
  })
  await imports.get(NAMESPACE, 'app', never)
  await pass(clock, 60_000)
  const listings = reads(api).length
  t.ok(listings > 2 && listings < 15, `${listings} readings in a minute`)
})

t.test('a silent watch is closed and opened again', async (t) => {
  const { api, clock, changes, log, inTime } = await following(t, ['app'])
  await clock.advance(149_000)
  t.equal(api.requests('watch').length, 0)
  await clock.advance(2_000)
  await inTime('the next watch', () => api.requests('watch').length === 1)
  t.match(log.lines.find(({ level }) => level === 'warn')?.fields.reason, /silent for 150 s/)
  await until('the next watch', () => api.openWatches > 0)
  api.put('app', (spec) => Object.assign(spec, { role: 'other' }))
  await inTime('the change', () => changes.length === 1)
})

t.test('a bookmark is a sign of life', async (t) => {
  const { api, clock } = await following(t, ['app'])
  for (let minute = 0; minute < 4; minute += 1) {
    await clock.advance(60_000)
    api.bookmark()
    await drainEventLoop()
  }
  t.equal(api.requests('watch').length, 0)
})

t.test('a server that hangs at the head of its answer is asked again', async (t) => {
  const { api, inTime, imports, clock, log, roleOf } = await bench(t, (api) => api.put('app'))
  api.instead = () => 'hang'
  const starting = imports.start(never)
  await until('the first call', () => api.seen.length === 1)
  await clock.advance(10_000)
  await starting
  await inTime('the loss', () => log.messages('warn').length > 1)
  const refused = t.rejects(roleOf('app'), faulty('imports_unavailable', /no answer within 10 s/))
  await pass(clock, 11_000)
  await refused
  api.instead = undefined
  await inTime('an answer', () => imports.synced())
  t.equal(await roleOf('app'), 'my-namespace1_backend')
})

t.test('start does not wait for an API server that is away: the plugin comes up, and says so', async (t) => {
  const { api, imports, clock, log, inTime, roleOf } = await bench(t)
  await api.stop()
  const starting = imports.start(never)
  await inTime('the first failure', () => log.messages('warn').length > 0)
  await clock.advance(10_000)
  await starting
  t.equal(imports.synced(), false)
  await t.rejects(roleOf('app'), faulty('imports_unavailable', /ECONNREFUSED/))
  api.put('app')
  await api.start()
  t.equal(await roleOf('app'), 'my-namespace1_backend', 'whoever asks has it found out')
  t.equal(imports.synced(), true)
})

t.test('start and get give up waiting with their signal', async (t) => {
  const { api, imports } = await bench(t)
  api.instead = () => 'hang'
  const stopping = AbortSignal.abort(new Error('stopping'))
  await t.rejects(imports.start(stopping), { message: 'stopping' })
  await t.rejects(imports.get(NAMESPACE, 'app', stopping), { message: 'stopping' })
  const late = new AbortController()
  const asking = imports.get(NAMESPACE, 'app', late.signal)
  late.abort(new Error('too late'))
  await t.rejects(asking, { message: 'too late' })
})

t.test('refusals name the missing permission or CRD', async (t) => {
  for (const [code, reason, told] of [
    [403, 'Forbidden', /ClusterRole needs list and watch on secretsstoreimports/],
    [404, 'NotFound', /is the CRD secretsstoreimports\.deckhouse\.io installed/],
    [401, 'Unauthorized', /does not accept the plugin's service-account token/],
    [500, 'InternalError', /500 InternalError/],
  ] as const) {
    const { api, imports, clock, log, inTime, roleOf } = await bench(t)
    api.instead = () => status(code, reason)
    const starting = imports.start(never)
    await inTime(reason, () => log.messages('warn').length > 0)
    await clock.advance(10_000)
    await starting
    t.match(log.lines[0]?.fields.reason, told, 'told at start')
    await t.rejects(roleOf('app'), faulty('imports_unavailable', told))
  }
})

t.test('an unused import is followed for a while, then forgotten', async (t) => {
  const forgotten: string[] = []
  const onForgotten = (namespace: string, name: string) => forgotten.push(`${namespace}/${name}`)
  const { api, clock, imports, inTime } = await following(t, ['app', 'kept'], undefined, { onForgotten })
  imports.forget(NAMESPACE, 'app')
  imports.forget(NAMESPACE, 'app')
  imports.forget(NAMESPACE, 'kept')
  imports.forget(NAMESPACE, 'unheard-of')
  await clock.advance(140_000)
  await imports.get(NAMESPACE, 'kept', never)
  t.equal(reads(api).length, 0, 'a pod that was replaced costs nothing')
  await clock.advance(10_001)
  await inTime('the end of the watch', () => api.openWatches === 1)
  await clock.advance(200_000)
  t.same(forgotten, [`${NAMESPACE}/app`])
  await imports.get(NAMESPACE, 'app', never)
  t.equal(reads(api).length, 1, 'read anew')
})

t.test('the number of unused imports that are followed is bounded', async (t) => {
  const names = Array.from({ length: 80 }, (_, index) => `app-${index}`)
  const { api, imports } = await following(t, names)
  for (const name of names) imports.forget(NAMESPACE, name)
  await until('the watches to end', () => api.openWatches === 64)
})

t.test('a namespace has its share of watches; further imports are read once a minute', async (t) => {
  const names = Array.from({ length: 140 }, (_, index) => `app-${index}`)
  const { api, clock, imports, roleOf, inTime } = await bench(t, (api) => {
    for (const name of names) api.put(name)
    api.put('victim', undefined, 'elsewhere')
  })
  for (const name of names) await imports.get(NAMESPACE, name, never)
  await imports.get('elsewhere', 'victim', never)
  await until('the watches', () => api.openWatches === 129)
  api.put('app-139', (spec) => Object.assign(spec, { role: 'other' }))
  await drainEventLoop()
  await clock.advance(30_000)
  t.equal(await roleOf('app-139'), 'my-namespace1_backend')
  await clock.advance(30_001)
  await inTime('the look', async () => (await roleOf('app-139')) === 'other')
})

t.test('readings of one namespace do not hold up those of another', async (t) => {
  const { api, imports } = await bench(t, (api) => {
    for (let index = 0; index < 50; index += 1) api.put(`app-${index}`)
    api.put('victim', undefined, 'elsewhere')
  })
  await imports.start(never)
  api.instead = ({ path }) => (path.includes(NAMESPACE) ? 'hang' : undefined)
  const end = new AbortController()
  const attack = Array.from({ length: 50 }, (_, index) =>
    imports.get(NAMESPACE, `app-${index}`, end.signal).catch(() => {}),
  )
  await until('the attack', () => reads(api).length >= 4)
  t.equal((await imports.get('elsewhere', 'victim', never)).name, 'victim')
  end.abort()
  await Promise.all(attack)
})

t.test('close ends the watches and lets nothing run on', async (t) => {
  const { api, imports, clock } = await following(t, ['app', 'other'])
  imports.forget(NAMESPACE, 'other')
  await imports.close()
  await until('the end of the watches', () => api.openWatches === 0)
  t.equal(clock.waiting, 0)
})
