import t from 'tap'
import { contentOf } from '../../src/kube/secret-content.ts'
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

t.test('a Secret is created with its content, its manager, and the pod as owner', async (t) => {
  const { store, syncs, requests, log } = await secretSyncBench(t, 'one')
  await syncs.one.sync([wantedSecret()], never)
  t.equal(requests(), 'GET POST')
  t.strictSame(store.values(ID), { PASSWORD: 'first canary' })
  const { metadata, type } = store.get(ID)
  t.equal(type, 'Opaque')
  t.strictSame(metadata.labels, { 'app.kubernetes.io/managed-by': 'vault-files-csi' })
  t.strictSame(metadata.annotations, {
    [`${DRIVER}/import`]: 'app',
    [`${DRIVER}/seen-at`]: '2030-01-01T00:00:00.000Z',
    [`${DRIVER}/node`]: 'one',
  })
  t.strictSame(metadata.ownerReferences, [
    { apiVersion: 'v1', kind: 'Pod', name: 'web-0', uid: 'uid-of-web-0' },
  ])
  t.match(log.lines, [{ message: 'Kubernetes Secret created', fields: { secret: 'app-secret' } }])
  t.notMatch(log.text, /canary/)
})

t.test('unchanged content is checked once a minute and never written', async (t) => {
  const { store, syncs, requests, clock } = await secretSyncBench(t, 'one')
  await syncs.one.sync([wantedSecret()], never)
  requests()
  for (let seconds = 0; seconds < 60; seconds += 10) {
    await syncs.one.sync([wantedSecret({ fetchedAt: clock.now() })], never)
    await clock.advance(10_000)
  }
  t.equal(requests(), '')
  await syncs.one.sync([wantedSecret({ fetchedAt: clock.now() })], never)
  t.equal(requests(), 'GET')
  t.equal(store.get(ID).metadata.annotations?.[`${DRIVER}/seen-at`], '2030-01-01T00:00:00.000Z')
})

t.test('content that changes is written at once: keys that went go', async (t) => {
  const { store, syncs, requests, log } = await secretSyncBench(t, 'one')
  await syncs.one.sync([wantedSecret({ data: { USER: 'app', PASSWORD: 'first canary' } })], never)
  requests()
  await syncs.one.sync(
    [wantedSecret({ data: { PASSWORD: 'next canary', TOKEN: 'x' }, fetchedAt: START + 1 })],
    never,
  )
  t.equal(requests(), 'GET PATCH')
  t.strictSame(store.values(ID), { PASSWORD: 'next canary', TOKEN: 'x' })
  t.strictSame(log.messages(), ['Kubernetes Secret created', 'Kubernetes Secret changed'])
  t.notMatch(log.text, /canary/)
})

t.test('labels and annotations of others stay on the Secret', async (t) => {
  const { store, syncs } = await secretSyncBench(t, 'one')
  await syncs.one.sync([wantedSecret()], never)
  const { labels, annotations } = store.get(ID).metadata
  store.put(ID, {
    metadata: { labels: { ...labels, team: 'a' }, annotations: { ...annotations, note: 'b' } },
  })
  await syncs.one.sync([wantedSecret({ data: { PASSWORD: 'next' }, fetchedAt: START + 1 })], never)
  t.match(store.get(ID).metadata, { labels: { team: 'a' }, annotations: { note: 'b' } })
})

t.test('a Secret that was edited or deleted by hand is restored at the next check', async (t) => {
  const { store, syncs, clock } = await secretSyncBench(t, 'one')
  await syncs.one.sync([wantedSecret()], never)
  store.put(ID, { data: { PASSWORD: 'ZWRpdGVk', MORE: 'bW9yZQ==' } })
  await clock.advance(60_000)
  await syncs.one.sync([wantedSecret()], never)
  t.strictSame(store.values(ID), { PASSWORD: 'first canary' })
  store.secrets.delete(ID)
  await clock.advance(60_000)
  await syncs.one.sync([wantedSecret()], never)
  t.strictSame(store.values(ID), { PASSWORD: 'first canary' })
})

t.test('many volumes of a node share one check, and all their pods become owners', async (t) => {
  const { store, syncs, requests } = await secretSyncBench(t, 'one')
  const pods = Array.from({ length: 30 }, (_, index) => podNamed(`web-${index}`))
  await Promise.all(pods.map((pod) => syncs.one.sync([wantedSecret({ pod })], never)))
  t.equal(requests(), 'GET POST')
  t.strictSame(store.owners(ID), pods.map(({ uid }) => uid).sort())
  await syncs.one.sync([wantedSecret({ pod: podNamed('late') })], never)
  t.equal(requests(), 'GET PATCH', 'a pod that comes within the minute is added')
  t.ok(store.owners(ID).includes('uid-of-late'))
})

t.test('a pod with two volumes of one import is served for both', async (t) => {
  const { store, syncs } = await secretSyncBench(t, 'one')
  await Promise.all([1, 2, 3].map(() => syncs.one.sync([wantedSecret()], never)))
  t.strictSame(store.owners(ID), ['uid-of-web-0'])
})

t.test('pods that start at one time on two nodes both become owners', async (t) => {
  const { store, syncs } = await secretSyncBench(t, 'one', 'two')
  await Promise.all([
    syncs.one.sync([wantedSecret()], never),
    syncs.two.sync([wantedSecret({ pod: second })], never),
  ])
  t.strictSame(store.owners(ID), ['uid-of-web-0', 'uid-of-web-1'])
})

t.test('a Secret that is to be retained has no owners, and loses those it had', async (t) => {
  const { store, syncs } = await secretSyncBench(t, 'one')
  const foreign = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', uid: 'uid-of-deployment' }
  await syncs.one.sync([wantedSecret()], never)
  const owners = store.get(ID).metadata.ownerReferences ?? []
  store.put(ID, { metadata: { ownerReferences: [...owners, foreign] } })
  await syncs.one.sync([wantedSecret({ deletionPolicy: 'Retain' })], never)
  t.strictSame(store.owners(ID), ['uid-of-deployment'], "somebody else's stay")
  store.secrets.delete(ID)
  await syncs.one.sync([wantedSecret({ deletionPolicy: 'Retain', data: { A: 'other' } })], never)
  t.strictSame(store.owners(ID), [])
})

t.test("an owner is added although the content is newer than its node's data", async (t) => {
  const { store, syncs } = await secretSyncBench(t, 'one', 'two')
  await syncs.one.sync([wantedSecret({ data: { PASSWORD: 'new' }, fetchedAt: START + 1 })], never)
  await syncs.two.sync([wantedSecret({ data: { PASSWORD: 'old' }, pod: second })], never)
  t.strictSame(store.values(ID), { PASSWORD: 'new' })
  t.strictSame(store.owners(ID), ['uid-of-web-0', 'uid-of-web-1'])
})

t.test('one Secret that fails does not stop the sync of others', async (t) => {
  const { store, syncs, log } = await secretSyncBench(t, 'one')
  store.put('shop/foreign', {})
  store.put('shop/foreign-too', {})
  const names = ['foreign', 'foreign-too', 'app-secret']
  const secrets = names.map((name) => wantedSecret({ name }))
  await t.rejects(syncs.one.sync(secrets, never), faulty('sync_refused'))
  t.strictSame(store.values(ID), { PASSWORD: 'first canary' })
  t.match(log.lines[log.lines.length - 1], {
    level: 'warn',
    fields: { error: { message: /"shop\/foreign-too"/ } },
  })
})

t.test('keys that are names of every object come and go as others do', async (t) => {
  const { store, syncs, clock } = await secretSyncBench(t, 'one')
  const data = { PASSWORD: 'p', constructor: 'c', toString: 't', hasOwnProperty: 'h' }
  await syncs.one.sync([wantedSecret({ data })], never)
  t.strictSame(store.values(ID), data)
  await clock.advance(60_000)
  await syncs.one.sync([wantedSecret({ data: { PASSWORD: 'p' }, fetchedAt: clock.now() })], never)
  t.strictSame(store.values(ID), { PASSWORD: 'p' }, 'what is wanted no more goes')
  await syncs.one.sync([wantedSecret({ type: 'constructor', name: 'other' })], never)
  t.equal(store.get(ID.replace('app-secret', 'other')).type, 'constructor')
})

t.test("a value is found in the API server's words soon, however many lines it has", async (t) => {
  const content = contentOf(wantedSecret({ data: { KEY: 'canary\n'.repeat(140_000) } }))
  const before = process.threadCpuUsage()
  t.notMatch(content.hide(`denied: canary ${'x'.repeat(10_000)}`), /canary/)
  t.notMatch(content.hide(`denied: canary ${'x'.repeat(1_000_000)}`), /canary/)
  const { user, system } = process.threadCpuUsage(before)
  t.ok((user + system) / 1000 < 500, `${(user + system) / 1000} ms of CPU`)
})
