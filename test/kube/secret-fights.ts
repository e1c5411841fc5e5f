import t from 'tap'
import { faulty } from '../harness/faulty.ts'
import {
  DRIVER,
  ID,
  never,
  podNamed,
  secretSyncBench,
  wantedSecret,
} from '../harness/kube/secret-sync-bench.ts'

const START = Date.UTC(2030, 0, 1)
const second = podNamed('web-1')

t.test('two nodes, 50 interleaved rounds: no more writes than changes', async (t) => {
  const { store, syncs, clock } = await secretSyncBench(t, 'one', 'two')
  const changes = new Set<string>()
  for (let round = 0; round < 50; round += 1) {
    // Vault's value changes at every fifth round; node two looks a moment before node one and may see the old one.
    const [old, now] = [Math.floor(Math.max(0, round - 1) / 5), Math.floor(round / 5)]
    changes.add(String(now))
    const fetchedAt = clock.now()
    const one = wantedSecret({ data: { V: `value ${now}` }, fetchedAt })
    const two = wantedSecret({ data: { V: `value ${old}` }, fetchedAt: fetchedAt - 1, pod: second })
    const both = [() => syncs.one.sync([one], never), () => syncs.two.sync([two], never)]
    await Promise.all((round % 2 === 0 ? both : both.reverse()).map((sync) => sync()))
    t.equal(store.values(ID).V, `value ${now}`)
    await clock.advance(61_000)
  }
  // Beside the changes: the second node's pod is written down as an owner.
  t.ok(store.writes <= changes.size + 1, `${store.writes} writes for ${changes.size} changes`)
})

t.test('twelve nodes that start at one time end with one content and all pods as owners', async (t) => {
  const nodes = Array.from({ length: 12 }, (_, index) => `node-${index}`)
  const { store, syncs } = await secretSyncBench(t, ...nodes)
  await Promise.all(nodes.map((node) => syncs[node]?.sync([wantedSecret({ pod: podNamed(node) })], never)))
  t.equal(store.owners(ID).length, 12)
  t.ok(store.writes <= 12, `${store.writes} writes`)
})

t.test('nodes that see a rotation at one time write it once', async (t) => {
  const nodes = Array.from({ length: 12 }, (_, index) => `node-${index}`)
  const { store, syncs } = await secretSyncBench(t, ...nodes)
  const all = async (fetchedAt: number, value: string) => {
    const wanted = (node: string) => wantedSecret({ pod: podNamed(node), fetchedAt, data: { V: value } })
    await Promise.all(
      nodes.map((node, index) =>
        syncs[node]?.sync([{ ...wanted(node), fetchedAt: fetchedAt + index }], never),
      ),
    )
  }
  await all(START, 'first')
  store.writes = 0
  await all(START + 1000, 'next')
  t.equal(store.writes, 1)
  t.strictSame(store.values(ID), { V: 'next' })
})

t.test('a conflict leads to another read, not to an overwrite', async (t) => {
  const { api, store, syncs, requests } = await secretSyncBench(t, 'one')
  await syncs.one.sync([wantedSecret()], never)
  requests()
  let isFirst = true
  api.instead = ({ method }) => {
    if (method !== 'PATCH' || !isFirst) return undefined
    isFirst = false
    // Another node writes between our look and our write.
    const annotations = {
      ...store.get(ID).metadata.annotations,
      [`${DRIVER}/seen-at`]: '2030-01-01T00:00:09Z',
    }
    store.put(ID, { data: { PASSWORD: 'bmV3ZXI=' }, metadata: { annotations } })
    return undefined
  }
  await syncs.one.sync([wantedSecret({ data: { PASSWORD: 'old' }, fetchedAt: START + 1 })], never)
  t.equal(requests(), 'GET PATCH GET')
  t.strictSame(store.values(ID), { PASSWORD: 'newer' })
})

t.test('a Secret that is deleted and created again between read and write is read again', async (t) => {
  const { api, store, syncs, requests } = await secretSyncBench(t, 'one')
  await syncs.one.sync([wantedSecret()], never)
  requests()
  let isFirst = true
  api.instead = ({ method }) => {
    if (method !== 'PATCH' || !isFirst) return undefined
    isFirst = false
    store.secrets.delete(ID)
    store.put(ID, {})
    return undefined
  }
  const late = wantedSecret({ pod: second })
  await t.rejects(syncs.one.sync([late], never), faulty('sync_refused'))
  t.equal(requests(), 'GET PATCH GET')
  t.strictSame(store.owners(ID), [])
})

t.test('a timestamp far in the future stops no node', async (t) => {
  const { store, syncs } = await secretSyncBench(t, 'one', 'two')
  await syncs.two.sync([wantedSecret({ fetchedAt: START + 3_600_000, pod: second })], never)
  await syncs.one.sync([wantedSecret({ data: { PASSWORD: 'next' }, fetchedAt: START })], never)
  t.strictSame(store.values(ID), { PASSWORD: 'next' })
})

t.test('conflicts without end are given up for now', async (t) => {
  const { api, syncs } = await secretSyncBench(t, 'one')
  await syncs.one.sync([wantedSecret()], never)
  api.instead = ({ method }) =>
    method === 'PATCH' ? { status: 409, body: { reason: 'Conflict', message: 'modified' } } : undefined
  await t.rejects(syncs.one.sync([wantedSecret({ data: { A: 'x' }, fetchedAt: START + 1 })], never), {
    fault: 'sync_unavailable',
    message: /others changed it 8 times/,
  })
})

t.test("of per-volume leases the first pod's content stays until that pod is gone", async (t) => {
  const { store, syncs, clock } = await secretSyncBench(t, 'one', 'two')
  const own = (value: string, more: object = {}) =>
    wantedSecret({ isPerVolume: true, data: { V: value }, fetchedAt: clock.now(), ...more })
  await syncs.one.sync([own('of web-0')], never)
  t.equal(store.get(ID).metadata.annotations?.[`${DRIVER}/holder`], 'web-0/uid-of-web-0')
  for (let round = 0; round < 3; round += 1) {
    await clock.advance(61_000)
    await syncs.two.sync([own('of web-1', { pod: second })], never)
    t.strictSame(store.values(ID), { V: 'of web-0' })
  }
  t.strictSame(store.owners(ID), ['uid-of-web-0', 'uid-of-web-1'])
  await syncs.one.sync([own('issued anew to web-0')], never)
  t.strictSame(store.values(ID), { V: 'issued anew to web-0' })
  store.podGone('uid-of-web-0')
  await clock.advance(61_000)
  // Issued long before what stands there: its holder has gone, so that its time says nothing.
  await syncs.two.sync([own('of web-1', { pod: second, fetchedAt: START })], never)
  t.strictSame(store.values(ID), { V: 'of web-1' })
  t.equal(store.get(ID).metadata.annotations?.[`${DRIVER}/holder`], 'web-1/uid-of-web-1')
})

t.test('of a retained Secret the API server is asked whether the holder has gone', async (t) => {
  const { store, syncs, clock } = await secretSyncBench(t, 'one', 'two')
  const own = (value: string, more: object = {}) =>
    wantedSecret({ isPerVolume: true, deletionPolicy: 'Retain', data: { V: value }, ...more })
  const take = async () => {
    await clock.advance(61_000)
    await syncs.two.sync([own('of web-1', { pod: second })], never)
    return store.values(ID).V
  }
  store.pods.set('shop/web-0', { uid: 'uid-of-web-0', phase: 'Running' })
  await syncs.one.sync([own('of web-0')], never)
  t.equal(await take(), 'of web-0')
  const gone = [
    () => store.pods.delete('shop/web-0'),
    () => store.pods.set('shop/web-0', { uid: 'another', phase: 'Running' }),
    () => store.pods.set('shop/web-0', { uid: 'uid-of-web-0', phase: 'Succeeded' }),
  ]
  for (const [index, go] of gone.entries()) {
    store.secrets.delete(ID)
    await syncs.one.sync([own(`of web-0 ${index}`)], never)
    go()
    t.equal(await take(), 'of web-1')
  }
})

t.test('content that is no longer issued to a pod loses its holder', async (t) => {
  const { store, syncs } = await secretSyncBench(t, 'one')
  await syncs.one.sync([wantedSecret({ isPerVolume: true })], never)
  await syncs.one.sync([wantedSecret({ data: { A: 'shared' }, fetchedAt: START + 1 })], never)
  t.strictSame(store.values(ID), { A: 'shared' })
  t.equal(store.get(ID).metadata.annotations?.[`${DRIVER}/holder`], undefined)
})
