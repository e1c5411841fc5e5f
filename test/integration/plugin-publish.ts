import { execFileSync } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { TOKENS_KEY } from '../../src/core/publish-request/service-account-tokens.ts'
import { publishRequest } from '../harness/kubelet/kubelet.ts'
import { startRealNode } from '../harness/plugin/real-node.ts'
import { until } from '../harness/until.ts'
import { groupExists, inode, mtimeNs } from '../harness/volume/volume.ts'

const node = await startRealNode(t, { args: ['--max-volume-bytes=1Mi', '--rotation-interval=1h'] })
const { kubelet, vault } = node
await vault.put('app', { user: 'app', password: 'correct horse' })
const source = (key: string) => ({ path: 'secret/data/app', key })
const files = [
  { name: 'db-password', source: source('password') },
  { name: 'db-user', source: source('user'), mode: 0o400 },
]
await node.writeImport('app', { role: 'app', files })

const mode = (path: string) => (statSync(path).mode & 0o7777).toString(8)
const calls = async () => (await node.metrics()).sum('vault_call_duration_seconds_count')
const mountsAt = (target: string) =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.split(' ')[4] === target)

t.test('kubelet learns who it talks to and what it may ask', async (t) => {
  t.match(await kubelet.pluginInfo(), { name: 'secrets-store.csi.deckhouse.io', vendor_version: /^\d+\.\d+/ })
  t.match(await kubelet.getInfo(), { node_id: 'node-1' })
  t.strictSame((await kubelet.capabilities()).sort(), ['GET_VOLUME_STATS', 'VOLUME_MOUNT_GROUP'])
  t.ok(await kubelet.probe())
  t.equal(mode(node.endpoint.replace('unix://', '')), '600')
  t.equal((await node.http('/readyz')).status, 200)
})

t.test('a pod finds its files, owned by root and readable, each with its own mode', async (t) => {
  const volume = await node.publish({ importName: 'app' })
  t.strictSame(volume.names(), ['db-password', 'db-user'])
  t.equal(volume.read('db-password'), 'correct horse')
  t.equal(volume.read('db-user'), 'app')
  t.equal(mode(volume.path('db-password')), '644')
  t.equal(mode(volume.path('db-user')), '400')
  t.match(statSync(volume.path('db-password')), { uid: 0, gid: 0 })
  t.equal(mode(volume.target), '755')
  await node.unpublish(volume)
})

t.test('defaultMode counts where a file names no mode', async (t) => {
  await node.writeImport('modes', { role: 'app', defaultMode: '0440', files })
  const volume = await node.publish({ importName: 'modes' })
  t.equal(mode(volume.path('db-password')), '440')
  t.equal(mode(volume.path('db-user')), '400')
  await node.unpublish(volume)
})

t.test("with the pod's fsGroup the files are the group's, and no one else's", async (t) => {
  // A user namespace of an ordinary user knows only the group 0.
  const fsGroup = groupExists(2000) ? 2000 : 0
  const volume = await node.publish({ importName: 'app', fsGroup })
  t.match(statSync(volume.path('db-password')), { uid: 0, gid: fsGroup })
  t.equal(mode(volume.path('db-password')), '640')
  t.equal(mode(volume.path('db-user')), '400', 'a mode of its own stays')
  t.equal(statSync(volume.target).gid, fsGroup)
  await node.unpublish(volume)
})

t.test('the volume is a tmpfs of its own, limited, never swapped where the kernel can do that', async (t) => {
  const volume = await node.publish({ importName: 'app' })
  const [line = '', ...others] = mountsAt(volume.target)
  t.strictSame(others, [])
  const [flags = '', own = ''] = [line.split(' ')[5], line.split(' - ')[1]]
  for (const flag of ['nosuid', 'nodev', 'noexec']) t.ok(flags.split(',').includes(flag), flag)
  t.match(own, /^tmpfs /)
  t.match(own, /[ ,]size=128k(,|$)/)
  t.match(own, /[ ,]nr_inodes=\d+(,|$)/)
  t.equal(/[ ,]noswap(,|$)/.test(own), acceptsNoswap(), `noswap as this kernel has it: ${own}`)
  await node.unpublish(volume)
})

t.test('what is published stays as it is when kubelet publishes again', async (t) => {
  const volume = await node.publish({ importName: 'app' })
  const before = { mtime: mtimeNs(volume.path('db-password')), inode: inode(volume.path('db-password')) }
  const callsBefore = await calls()
  await Promise.all(Array.from({ length: 10 }, () => node.republish(volume)))
  t.equal(await calls(), callsBefore, 'Vault is not asked')
  t.equal(mountsAt(volume.target).length, 1)
  t.strictSame(
    { mtime: mtimeNs(volume.path('db-password')), inode: inode(volume.path('db-password')) },
    before,
  )
  await node.unpublish(volume)
})

t.test('the same target with other arguments is refused, and the files stay', async (t) => {
  const volume = await node.publish({ importName: 'app' })
  const { pod } = volume.args
  const others = [
    { volumeId: 'csi-other' },
    { importName: 'modes' },
    { readOnly: false },
    { fsGroup: 0 },
    { pod: { ...pod, uid: 'another' } },
  ]
  for (const other of others) {
    await t.rejects(
      node.republish(volume, other),
      { code: 'ALREADY_EXISTS', details: /already published with other arguments.*next: delete the pod/ },
      Object.keys(other).join(),
    )
  }
  t.equal(volume.read('db-password'), 'correct horse')
  t.equal(mountsAt(volume.target).length, 1)
  await node.unpublish(volume)
})

t.test('tokens are taken from secrets and from volume_context, from secrets first', async (t) => {
  const inSecrets = await node.publish({ importName: 'app', serviceAccount: 'sa-1', tokensInSecrets: true })
  t.equal(inSecrets.read('db-user'), 'app')
  const both = await node.publish({ importName: 'app', serviceAccount: 'sa-2', tokensInSecrets: true })
  await node.unpublish(both)
  const request = publishRequest(both.args)
  request.volume_context[TOKENS_KEY] = JSON.stringify({
    vault: { token: 'not a token', expirationTimestamp: new Date(Date.now() + 60_000).toISOString() },
  })
  await kubelet.raw('NodePublishVolume', request)
  t.equal(both.read('db-user'), 'app', 'a user may not put a token of his own before it')
  await node.unpublish(both)
  await node.republish(inSecrets, { tokensInSecrets: false })
  await node.unpublish(inSecrets)
})

t.test('stats report bytes and inodes of the volume only', async (t) => {
  const volume = await node.publish({ importName: 'app' })
  const { volumeId } = volume.args
  const [bytes, inodes, ...more] = await kubelet.stats({ volumeId, volumePath: volume.target })
  t.strictSame(more, [])
  t.match(bytes, { unit: 'BYTES', total: 128 << 10 })
  t.ok(bytes!.used > 0 && bytes!.used < 64 << 10, 'two small files')
  t.equal(bytes!.available, bytes!.total - bytes!.used)
  t.match(inodes, { unit: 'INODES' })
  t.ok(inodes!.used >= 5 && inodes!.used < 20, 'files, slots and links')
  t.equal(inodes!.available, inodes!.total - inodes!.used)
  const unknown = [
    { volumeId: 'csi-other', volumePath: volume.target },
    { volumeId, volumePath: tmpdir() },
    { volumeId, volumePath: 'relative/path' },
  ]
  for (const args of unknown) await t.rejects(kubelet.stats(args), { code: 'NOT_FOUND' }, args.volumePath)
  await node.unpublish(volume)
  await t.rejects(kubelet.stats({ volumeId, volumePath: volume.target }), { code: 'NOT_FOUND' })
})

t.test('unpublish leaves nothing, also of a file that is open, and can be repeated', async (t) => {
  const volume = await node.publish({ importName: 'app' })
  const { volumeId } = volume.args
  const file = openSync(volume.path('db-password'), 'r')
  await node.unpublish(volume)
  closeSync(file)
  await node.unpublish(volume)
  await kubelet.nodeUnpublish({ volumeId: 'csi-never', targetPath: join(node.folder, 'never') })
  t.notOk(existsSync(volume.target))
  const again = await node.publish({ importName: 'app', volumeId, targetPath: volume.target })
  t.equal(again.read('db-password'), 'correct horse', 'the place can be used again')
  await kubelet.nodeUnpublish({ volumeId: 'csi-other', targetPath: volume.target })
  t.equal(again.read('db-password'), 'correct horse', 'a volume of another name there is left alone')
  await node.unpublish(again)
})

t.test('a volume that was unmounted from outside is published again', async (t) => {
  const volume = await node.publish({ importName: 'app' })
  execFileSync('umount', [volume.target])
  await node.republish(volume)
  t.equal(volume.read('db-password'), 'correct horse')
  await node.unpublish(volume)
})

t.test('the Vault token goes with the last volume of its identity, and not before', async (t) => {
  t.strictSame(await vault.loginTokens(), [], 'the volumes so far left none')
  const one = await node.publish({ importName: 'app' })
  const two = await node.publish({ importName: 'modes' })
  const other = await node.publish({ importName: 'app', serviceAccount: 'frontend' })
  const tokens = await vault.loginTokens()
  t.equal(tokens.length, 2, 'one for each service account')
  await node.unpublish(one)
  t.strictSame((await vault.loginTokens()).sort(), tokens.sort())
  await node.unpublish(two)
  t.equal((await vault.loginTokens()).length, 1)
  t.equal(other.read('db-user'), 'app')
  await node.unpublish(other)
  t.strictSame(await vault.loginTokens(), [])
})

t.test('what the metrics page and the health checks say fits what happened', async (t) => {
  const volume = await node.publish({ importName: 'app' })
  const during = await node.metrics()
  t.equal(during.sum('volumes', { state: 'inSync' }), 1)
  t.ok(during.sum('oldest_sync_age_seconds') < 5)
  await node.unpublish(volume)
  const after = await node.metrics()
  t.equal(after.sum('volumes'), 0)
  t.ok(after.sum('publish_duration_seconds_count', { result: 'ok' }) >= 20)
  t.equal(after.sum('publish_duration_seconds_count', { result: 'already_exists' }), 5)
  t.ok(after.sum('logins_total', { method: 'kubernetes', result: 'ok' }) >= 3)
  t.ok(after.sum('process_resident_memory_bytes') > 0)
  await until('the health checks', async () => (await node.http('/healthz')).ok)
})

function acceptsNoswap(): boolean {
  const path = mkdtempSync(join(tmpdir(), 'vault-files-noswap-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'noswap', 'probe', path], { stdio: 'ignore' })
    execFileSync('umount', [path])
    return true
  } catch {
    return false
  } finally {
    rmSync(path, { recursive: true })
  }
}
