import { existsSync, readdirSync, readFileSync, watch, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createMounter } from '../../src/volume/mount.ts'
import { type PodVolume, podVolume } from '../harness/kubelet/pod-volume.ts'
import { startRealNode } from '../harness/plugin/real-node.ts'
import { until } from '../harness/until.ts'
import { mtimeNs } from '../harness/volume/volume.ts'

const KILLS = 20
const SLOW = { timeout: 120_000 }
const node = await startRealNode(t)
const { vault, kubelet } = node
const mounter = createMounter()
const ledger = join(node.folder, 'state/volumes')

const source = (key: string) => ({ path: 'secret/data/app', key })
const files = [
  { name: 'password', source: source('password') },
  { name: 'user', source: source('user') },
]
await vault.put('app', { password: 'first', user: 'app' })
await node.writeImport('app', { role: 'app', refreshInterval: '300ms', files })

const phaseOf = ({ target }: PodVolume): string | undefined =>
  (existsSync(ledger) ? readdirSync(ledger) : [])
    .filter((name) => name.endsWith('.json'))
    .map((name) => JSON.parse(readFileSync(join(ledger, name), 'utf8')))
    .find(({ targetPath }) => targetPath === target)?.phase

t.test('an orderly end leaves the volumes to the next process', async (t) => {
  const volume = await node.publish({ importName: 'app' })
  const time = mtimeNs(volume.path('password'))
  t.equal(await node.stop(), 0)
  t.match(node.log().at(-1), { msg: 'stopped' })
  t.notOk(existsSync(node.endpoint.replace('unix://', '')), 'the socket is gone')
  t.ok(mounter.isMounted(volume.target))
  t.equal(volume.read('password'), 'first')

  await vault.put('app', { password: 'second', user: 'app' })
  await node.start()
  t.equal((await node.metrics()).sum('volumes', { state: 'resumed' }), 1)
  t.equal(volume.read('password'), 'first')
  t.equal(mtimeNs(volume.path('password')), time, 'nothing is touched before there is a token')
  const { volumeId } = volume.args
  t.equal((await kubelet.stats({ volumeId, volumePath: volume.target })).length, 2)

  await node.republish(volume)
  await until('what changed meanwhile', () => volume.read('password') === 'second')
  await vault.put('app', { password: 'third', user: 'app' })
  await until('the rotation to go on', () => volume.read('password') === 'third')
  await until('the state', async () => (await node.metrics()).sum('volumes', { state: 'inSync' }) === 1)
  await t.rejects(
    node.republish(volume, { readOnly: false }),
    { code: 'ALREADY_EXISTS' },
    'arguments are known',
  )
  await node.unpublish(volume)
})

t.test('an orderly end lets a publish under way finish, and takes no other', async (t) => {
  node.front.holdMs = 400
  t.teardown(() => {
    node.front.holdMs = 0
  })
  const underWay = node.publish({ importName: 'app', serviceAccount: 'under-way' })
  const from = node.front.requests.length
  await until('its login', () => node.front.requests.slice(from).some(({ path }) => path.endsWith('/login')))
  const late = podVolume(node.folder, vault.issuer, { importName: 'app' })
  const said = () => node.log().filter(({ msg }) => msg === 'stopping').length
  const before = said()
  node.plugin().process.kill('SIGTERM')
  await until('the end to begin', () => said() > before)
  await t.rejects(kubelet.nodePublish(late.args), { code: 'UNAVAILABLE' })
  t.equal(node.leftovers(late.target), '')
  const volume = await underWay
  t.equal(volume.read('user'), 'app')
  t.equal(await node.stop(), 0)
  await node.start()
  await node.republish(volume)
  await node.unpublish(volume)
})

t.test('a restart with the secret unchanged touches nothing', async (t) => {
  const volume = await node.publish({ importName: 'app' })
  const before = mtimeNs(volume.path('password'))
  await node.stop()
  await node.start()
  await node.republish(volume)
  await until('the state', async () => (await node.metrics()).sum('volumes', { state: 'inSync' }) === 1)
  t.equal(mtimeNs(volume.path('password')), before)
  await node.unpublish(volume)
})

t.test('unpublish right after a restart leaves nothing, also for a volume of no ledger entry', async (t) => {
  const known = await node.publish({ importName: 'app' })
  const unknown = await node.publish({ importName: 'app' })
  await node.kill9()
  for (const name of readdirSync(ledger)) {
    const path = join(ledger, name)
    if (readFileSync(path, 'utf8').includes(unknown.target)) writeFileSync(path, '{ half an ent')
  }
  await node.start()
  t.ok(node.log().some(({ msg }) => msg === 'ledger entry is unreadable, skipping it'))
  await node.unpublish(known)
  await node.unpublish(unknown)
})

t.test('a live volume whose ledger was lost is adopted as it is', async (t) => {
  const volume = await node.publish({ importName: 'app' })
  const before = mtimeNs(volume.path('password'))
  await node.kill9()
  for (const name of readdirSync(ledger)) writeFileSync(join(ledger, name), '')
  await node.start()
  await node.republish(volume)
  t.equal(mtimeNs(volume.path('password')), before)
  const password = 'after the takeover'
  await vault.put('app', { password, user: 'app' })
  await until('the rotation to go on', () => volume.read('password') === password)
  await node.unpublish(volume)
})

t.test('a reboot, after which nothing is mounted, is forgotten and published again', async (t) => {
  const volume = await node.publish({ importName: 'app' })
  await node.kill9()
  mounter.unmount(volume.target)
  await node.start()
  t.equal(node.leftovers(volume.target), '')
  t.equal((await node.metrics()).sum('volumes'), 0)
  await node.republish(volume)
  t.equal(volume.read('user'), 'app')
  await node.unpublish(volume)
})

t.test('a target that was killed between mount and write gets its files at the next publish', async (t) => {
  const volume = podVolume(node.folder, vault.issuer, { importName: 'app' })
  await kubelet.nodePublish(volume.args)
  await node.kill9()
  // As it stands after mount(2) and before the first file.
  mounter.unmount(volume.target)
  mounter.mount(volume.target, { sizeBytes: 4 << 20, gid: undefined })
  for (const name of readdirSync(ledger)) {
    const path = join(ledger, name)
    writeFileSync(path, readFileSync(path, 'utf8').replace('"phase":"complete"', '"phase":"mounting"'))
  }
  t.equal(phaseOf(volume), 'mounting')
  t.strictSame(readdirSync(volume.target), [])
  await node.start()
  t.equal(node.leftovers(volume.target), '')
  await node.republish(volume)
  t.equal(volume.read('user'), 'app')
  await node.unpublish(volume)
})

t.test(
  `${KILLS} kills during publishes: the next publish delivers, and unpublish leaves nothing`,
  SLOW,
  async (t) => {
    const data = Object.fromEntries(
      Array.from({ length: 200 }, (_, index) => [`key-${index}`, `${index}`.repeat(500)]),
    )
    await vault.admin.write('kv1/many', data)
    const many = Object.keys(data).map((key) => ({ name: key, source: { path: 'kv1/many', key } }))
    for (const updateMode of ['Live', 'Atomic', 'InPlace']) {
      await node.writeImport(`many-${updateMode.toLowerCase()}`, { role: 'app', updateMode, files: many })
    }
    const phases = new Map<string, number>()

    for (let kill = 0; kill < KILLS; kill++) {
      const volumes = ['many-live', 'many-atomic', 'many-inplace', 'app'].map((importName) =>
        podVolume(node.folder, vault.issuer, { importName }),
      )
      const publishing = volumes.map((volume) => kubelet.nodePublish(volume.args).catch((error) => error))
      // Half of them at any time, half from the moment on that a target directory is made.
      const [first] = volumes as [PodVolume]
      if (kill % 2 === 0) await sleep(Math.random() * 60)
      else await appears(first.target).then(() => sleep(Math.random() * 30))
      await node.kill9()
      for (const outcome of await Promise.all(publishing)) {
        if (outcome && outcome.code !== 'UNAVAILABLE')
          t.fail(`kubelet must take it that ${outcome} may have happened`)
      }
      for (const volume of volumes) count(phases, phaseOf(volume) ?? 'not begun')

      await node.start()
      for (const volume of volumes) {
        const left = node.leftovers(volume.target)
        const isComplete = phaseOf(volume) === 'complete'
        t.equal(left !== '', isComplete, `kill ${kill}: whole or not at all${left && `, ${left}`}`)
      }
      await Promise.all(volumes.map((volume) => node.republish(volume)))
      for (const volume of volumes) {
        const wanted = volume.args.importName === 'app' ? { user: 'app' } : data
        for (const [name, value] of Object.entries(wanted)) {
          if (volume.read(name) !== value) t.fail(`${name} of ${volume.args.importName}`)
        }
        await node.unpublish(volume)
      }
    }
    t.comment(JSON.stringify(Object.fromEntries(phases)))
    for (const phase of ['mounting', 'complete']) t.ok(phases.get(phase), `some were killed when ${phase}`)
  },
)

t.test('across rotations the Vault token stays, and goes with the last volume', async (t) => {
  await node.writeImport('token', { role: 'app', refreshInterval: '200ms', files })
  const before = new Set(await vault.loginTokens())
  const own = async () => (await vault.loginTokens()).filter((accessor) => !before.has(accessor))
  const one = await node.publish({ importName: 'token', serviceAccount: 'token-sa' })
  const two = await node.publish({ importName: 'app', serviceAccount: 'token-sa' })
  const tokens = await own()
  t.equal(tokens.length, 1)
  for (const password of ['a', 'b', 'c']) {
    await vault.put('app', { password, user: 'app' })
    await until(
      'both to rotate',
      () => one.read('password') === password && two.read('password') === password,
    )
    t.strictSame(await own(), tokens)
  }
  await node.unpublish(one)
  await vault.put('app', { password: 'd', user: 'app' })
  await until('the other to go on', () => two.read('password') === 'd')
  t.strictSame(await own(), tokens)
  await node.unpublish(two)
  t.strictSame(await own(), [])
})

function count(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1)
}

/** As soon as the kernel says that the directory is there. */
async function appears(path: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const watcher = watch(dirname(path), () => resolve())
  await Promise.race([promise, sleep(3_000, undefined, { ref: false })])
  watcher.close()
}
