import { lstatSync, readFileSync, readlinkSync, realpathSync } from 'node:fs'
import t, { type Test } from 'tap'
import type { UpdateMode } from '../../src/core/imports/import.ts'
import type { PodVolume } from '../harness/kubelet/pod-volume.ts'
import { startRealNode } from '../harness/plugin/real-node.ts'
import { until } from '../harness/until.ts'
import { type InotifyEvent, watchInotify } from '../harness/volume/inotify.ts'
import { bindFile } from '../harness/volume/tmpfs.ts'
import { mtimeNs } from '../harness/volume/volume.ts'

const ROTATIONS = 10
const REFRESH_MS = 400
const node = await startRealNode(t)
const { vault } = node

const files = [
  { name: 'password', source: { path: 'secret/data/moving', key: 'password' } },
  { name: 'user', source: { path: 'secret/data/moving', key: 'user' } },
]
const spec = { role: 'app', refreshInterval: `${REFRESH_MS}ms`, files }
/** Lengths go up and down, and stay. */
const value = (rotation: number) => `${rotation}:${'x'.repeat((rotation % 3) * 5000)}`
const is = (path: string, mask: string) => (event: InotifyEvent) =>
  event.path === path && event.mask.includes(mask)

type Watch = ReturnType<typeof watchInotify>
type Watched = { mode: UpdateMode; volume: PodVolume; bound: string; watch: Watch; boundWatch: Watch }

await vault.put('moving', { password: value(0), user: 'app' })

t.test('ten rotations, seen by watches that were set once', async (t) => {
  const watched: Watched[] = []
  for (const mode of ['Live', 'InPlace', 'Atomic'] as const) {
    await node.writeImport(mode.toLowerCase(), { ...spec, updateMode: mode })
    const volume = await node.publish({ importName: mode.toLowerCase() })
    const { path, target } = volume
    const data = mode === 'InPlace' ? [] : [path('..data')]
    // kubelet resolves the path of a subPath once and binds what it finds.
    const bound = bindFile(t, realpathSync(path('password')))
    const watch = watchInotify([path('password'), path('user'), target, ...data])
    // Of its own: one inotify instance has one watch for an inode, whatever its paths.
    const boundWatch = watchInotify([bound])
    t.teardown(() => {
      watch.close()
      boundWatch.close()
    })
    watched.push({ mode, volume, bound, watch, boundWatch })
  }

  for (let rotation = 1; rotation <= ROTATIONS; rotation++) {
    const before = watched.map(({ volume }) => mtimeNs(volume.path('password')))
    for (const { watch, boundWatch } of watched) {
      watch.clear()
      boundWatch.clear()
    }
    await vault.put('moving', { password: value(rotation), user: 'app' })
    for (const [index, one] of watched.entries()) {
      await one.watch.waitFor(lastEventOf(one), 10_000)
      t.equal(one.volume.read('password'), value(rotation), `${one.mode} ${rotation}: the new value by path`)
      t.ok(mtimeNs(one.volume.path('password')) > before[index]!, `${one.mode} ${rotation}: mtime moved`)
      await checkEvents(t, one, rotation)
    }
  }
  t.comment(`${node.log().filter(({ msg }) => msg === 'files changed').length} rotations of volumes`)

  await looks(2 * watched.length)
  for (const { watch } of watched) watch.clear()
  const times = watched.map(({ volume }) => mtimeNs(volume.path('password')))
  await looks(3 * watched.length)
  for (const [index, { mode, volume, watch }] of watched.entries()) {
    t.strictSame(watch.events(), [], `${mode}: an unchanged secret makes no event`)
    t.equal(mtimeNs(volume.path('password')), times[index], `${mode}: and moves no time`)
    await node.unpublish(volume)
  }
})

/** Waits until so many looks found nothing new. */
async function looks(count: number): Promise<void> {
  const unchanged = async () => (await node.metrics()).sum('refreshes_total', { result: 'unchanged' })
  const before = await unchanged()
  await until(`${count} looks`, async () => (await unchanged()) >= before + count)
}

/** The last event in a rotation of this mode; only then can the events be checked. */
function lastEventOf({ mode, volume, watch }: Watched): (event: InotifyEvent) => boolean {
  if (mode === 'Atomic') return (event) => is(volume.target, 'MOVED_TO')(event) && event.name === '..data'
  // Live modifies the watched inode once as it writes it and touches it after the swap, or only the latter.
  return (event) => {
    if (!is(volume.path('password'), 'CLOSE_WRITE')(event)) return false
    const moved = watch
      .events()
      .findIndex((one) => is(volume.target, 'MOVED_TO')(one) && one.name === '..data')
    return mode === 'InPlace' || (moved >= 0 && watch.events().lastIndexOf(event) > moved)
  }
}

async function checkEvents(
  t: Test,
  { mode, volume, bound, watch, boundWatch }: Watched,
  rotation: number,
): Promise<void> {
  const events = watch.events()
  const file = volume.path('password')
  const name = `${mode} ${rotation}`
  if (mode !== 'InPlace') {
    const moved = events.findIndex((event) => is(volume.target, 'MOVED_TO')(event) && event.name === '..data')
    t.ok(moved >= 0, `${name}: the directory's watch sees ..data moved in`)
  }
  if (mode === 'Atomic') return
  t.notOk(
    events.some(({ path }) => path === volume.path('user')),
    `${name}: the unchanged file is silent`,
  )
  t.ok(events.some(is(file, 'MODIFY')), `${name}: IN_MODIFY on the file`)
  t.notOk(events.some(is(file, 'DELETE_SELF')), `${name}: the watch lives on`)
  t.equal(readFileSync(bound, 'utf8'), value(rotation), `${name}: a subPath bind holds the new value`)
  await boundWatch.waitFor(is(bound, 'MODIFY'))
}

t.test('a read at IN_MODIFY after the swap returns the new value', async (t) => {
  await node.writeImport('live', { ...spec, updateMode: 'Live' })
  const volume = await node.publish({ importName: 'live' })
  const file = volume.path('password')
  const watch = watchInotify([`${file}:MODIFY`])
  t.teardown(() => watch.close())
  for (let rotation = 1; rotation <= 3; rotation++) {
    watch.clear()
    const fresh = `read at once ${rotation}`
    await vault.put('moving', { password: fresh, user: 'app' })
    // Reads when an event came and at no other time, as an application does.
    let seen = 0
    await watch.waitFor(() => {
      const isNews = watch.events().length > seen
      seen = watch.events().length
      return isNews && volume.read('password') === fresh
    })
    t.pass(`rotation ${rotation}`)
  }
  await node.unpublish(volume)
})

t.test('an import that is edited reaches its own volumes and no other', async (t) => {
  await node.writeImport('edited', { ...spec, refreshInterval: '1h' })
  await node.writeImport('other', { ...spec, refreshInterval: '1h' })
  const edited = await node.publish({ importName: 'edited' })
  const other = await node.publish({ importName: 'other' })
  const watch = watchInotify([other.target, other.path('password')])
  t.teardown(() => watch.close())
  const startedAt = performance.now()
  await node.writeImport('edited', {
    ...spec,
    refreshInterval: '1h',
    files: [
      { ...files[0], mode: 0o400 },
      { name: 'login', source: files[1]!.source },
    ],
  })
  await until('the files of the edited import', () => edited.names().join() === 'login,password')
  t.ok(performance.now() - startedAt < 2_000, 'within two seconds')
  t.equal(edited.read('login'), 'app')
  t.strictSame(other.names(), ['password', 'user'])
  t.strictSame(watch.events(), [])

  node.writeImportFile('edited.json', undefined)
  await until('the loss to be reported', () =>
    node
      .log()
      .find(({ msg, error }) => msg.startsWith('refresh failed') && /not found/.test(JSON.stringify(error))),
  )
  t.strictSame(edited.names(), ['login', 'password'], 'a deleted import leaves the files')
  t.equal(edited.read('login'), 'app')
  await node.republish(edited)
  t.equal((await node.metrics()).sum('volumes', { state: 'stale' }), 1)
  await node.writeImport('edited', { ...spec, refreshInterval: '1h' })
  await until('the import that is back', () => edited.names().join() === 'password,user')
  await until(
    'the volume to be in sync',
    async () => (await node.metrics()).sum('volumes', { state: 'stale' }) === 0,
  )
  await node.unpublish(edited)
  await node.unpublish(other)
})

t.test('a volume keeps the update mode that it was published with', async (t) => {
  await node.writeImport('mode', spec)
  const volume = await node.publish({ importName: 'mode' })
  await node.writeImport('mode', { ...spec, updateMode: 'InPlace' })
  for (const password of ['as before', 'after a restart']) {
    await vault.put('moving', { password, user: 'app' })
    await until('the rotation', () => volume.read('password') === password)
    t.match(readlinkSync(volume.path('..data')), /^\.\.slot-/)
    if (password === 'as before') await node.stop().then(() => node.start())
    await node.republish(volume)
  }
  const fresh = await node.publish({ importName: 'mode' })
  t.ok(lstatSync(fresh.path('password')).isFile(), 'new pods get the new one')
  await node.unpublish(volume)
  await node.unpublish(fresh)
})

t.test(
  'twenty volumes of one identity share a login, a read for each interval, and every change',
  async (t) => {
    await node.writeImport('shared', { ...spec, refreshInterval: '1s' })
    const tokens = await vault.loginTokens()
    const before = await node.metrics()
    const volumes = await Promise.all(
      Array.from({ length: 20 }, () => node.publish({ importName: 'shared' })),
    )
    const published = await node.metrics()
    const count = 'vault_call_duration_seconds_count'
    t.equal(published.sum('logins_total') - before.sum('logins_total'), 1)
    t.equal(published.sum(count, { operation: 'login' }) - before.sum(count, { operation: 'login' }), 1)

    const INTERVALS = 4
    const startedAt = performance.now()
    const from = (await node.metrics()).sum(count)
    await until('some intervals to pass', () => performance.now() - startedAt > INTERVALS * 1_000, {
      everyMs: 50,
    })
    const made = (await node.metrics()).sum(count) - from
    t.comment(`${made} calls to Vault for 20 volumes in ${INTERVALS} intervals`)
    t.ok(made >= INTERVALS - 1, 'it does look')
    t.ok(made <= 2 * INTERVALS, 'at most two calls in an interval')

    const watches = volumes.map((volume) => watchInotify([`${volume.path('password')}:MODIFY`]))
    t.teardown(() => {
      for (const watch of watches) watch.close()
    })
    await vault.put('moving', { password: 'for all', user: 'app' })
    for (const volume of volumes)
      await until('each volume to change', () => volume.read('password') === 'for all')
    for (const watch of watches) await watch.waitFor(({ mask }) => mask.includes('MODIFY'))
    t.equal((await vault.loginTokens()).length, tokens.length + 1)
    for (const volume of volumes) await node.unpublish(volume)
    t.same(new Set(await vault.loginTokens()), new Set(tokens))
  },
)
