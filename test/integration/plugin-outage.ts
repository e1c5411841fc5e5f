import t, { type Test } from 'tap'
import { KubeletError } from '../harness/kubelet/kubelet.ts'
import { type PodVolume, podVolume } from '../harness/kubelet/pod-volume.ts'
import { startRealNode } from '../harness/plugin/real-node.ts'
import { until } from '../harness/until.ts'
import { mtimeNs } from '../harness/volume/volume.ts'

const SLOW = { timeout: 60_000 }
// One node of OpenBao that keeps its data over a stop.
const node = await startRealNode(t, { vault: { storage: 'file' } })
const { vault, front, kubelet } = node
const { bao } = vault
const source = (key: string) => ({ path: 'secret/data/app', key })
const files = [{ name: 'password', source: source('password') }]
const spec = { role: 'app', refreshInterval: '300ms', files }
await vault.put('app', { password: 'first' })
await node.writeImport('app', spec)

const isState = async (state: string, volumes: number) =>
  (await node.metrics()).sum('volumes', { state }) === volumes
/** Messages of the failed refreshes that were logged. */
const lookFailures = (fault: string) =>
  node
    .log()
    .filter(({ msg }) => msg.startsWith('refresh failed'))
    .map(({ error }) => error as { fault: string; message: string })
    .filter((error) => error.fault === fault)
    .map(({ message }) => message)

type Outage = { fault: string; says: RegExp; begin(): Promise<void> | void; end(): Promise<void> | void }

/** What must hold in every outage, whatever its cause: old files, moving metrics, one log line, recovery. */
async function outlast(t: Test, { fault, says, begin, end }: Outage): Promise<void> {
  const told = lookFailures(fault).length
  const volume = await node.publish({ importName: 'app' })
  const before = { content: volume.read('password'), time: mtimeNs(volume.path('password')) }
  const failedBefore = (await node.metrics()).sum('refreshes_total', { result: 'failed', fault })
  await begin()
  try {
    await until('the volume to be stale', () => isState('stale', 1))
    await until('another failed look', async () => {
      return (await node.metrics()).sum('refreshes_total', { result: 'failed', fault }) >= failedBefore + 2
    })
    const during = await node.metrics()
    t.ok(during.sum('oldest_sync_age_seconds') > 0.3, 'the age of the oldest sync grows')
    t.equal(during.sum('volumes', { state: 'inSync' }), 0)
    const lines = lookFailures(fault).slice(told)
    t.equal(lines.length, 1, 'reported once, not at every refresh')
    t.match(lines[0], says)

    const error = await node.refusal({ importName: 'app', serviceAccount: `during-${fault}` })
    t.equal(error.code, 'UNAVAILABLE', error.details)
    t.match(error.details, says)
    t.match(error.details, /; next: /)
    await node.republish(volume)
    t.strictSame(
      { content: volume.read('password'), time: mtimeNs(volume.path('password')) },
      before,
      'the files stay as they were, and kubelet gets its OK',
    )
  } finally {
    await end()
  }
  const fresh = `after ${fault}`
  await vault.put('app', { password: fresh })
  await until('recovery', () => volume.read('password') === fresh)
  await until('the state', () => isState('inSync', 1))
  t.ok(
    node
      .log()
      .some(({ msg, volumeId }) => msg === 'volume is in sync again' && volumeId === volume.args.volumeId),
  )
  t.ok((await node.metrics()).sum('oldest_sync_age_seconds') < 2)
  await node.unpublish(volume)
  // Those that were refused left nothing behind in Vault either.
  t.strictSame(await vault.loginTokens(), [])
}

t.test('a Vault that is sealed', SLOW, (t) =>
  outlast(t, {
    fault: 'sealed',
    says: /^Vault at \S+ is sealed: .*; next: unseal it; it is tried again/,
    begin: () => bao.seal(),
    end: () => bao.unseal(),
  }),
)

t.test('a Vault that does not answer at all', SLOW, async (t) => {
  // Past the front, so that the connection itself is refused.
  await node.stop()
  await node.start({ args: [`--vault-addr=${bao.address}`] })
  await outlast(t, {
    fault: 'unreachable',
    says: /cannot be reached \(connection refused\).*mounted volumes keep their last good files/,
    begin: () => bao.stop(),
    end: () => bao.start(),
  })
  await node.stop()
  await node.start()
})

t.test('a Vault whose answers fail', SLOW, (t) =>
  outlast(t, {
    fault: 'vault_error',
    says: /answered 500: overloaded.*see Vault's log/,
    begin: () => {
      front.answer = () => ({ status: 500, body: '{"errors":["overloaded"]}' })
    },
    end: () => {
      front.answer = () => undefined
    },
  }),
)

t.test('a Vault that asks for a pause gets it', SLOW, async (t) => {
  const volume = await node.publish({ importName: 'app' })
  const seconds = 3
  const refusedAt: number[] = []
  front.answer = (path) => {
    if (!path.startsWith('secret/')) return undefined
    refusedAt.push(Date.now())
    return { status: 429, headers: { 'Retry-After': `${seconds}` }, body: '{"errors":["slow down"]}' }
  }
  await until('the volume to be stale', () => isState('stale', 1))
  front.answer = () => undefined
  const from = front.requests.length
  await vault.put('app', { password: 'after the pause' })
  await until('the next read', () =>
    front.requests.slice(from).some(({ path }) => path.startsWith('secret/')),
  )
  const next = front.requests.slice(from).find(({ path }) => path.startsWith('secret/'))
  t.equal(refusedAt.length, 1, 'it was not asked again')
  t.ok(next!.at - refusedAt[0]! >= seconds * 1000, `asked again after ${next!.at - refusedAt[0]!} ms`)
  await until('the new value', () => volume.read('password') === 'after the pause')
  t.match(lookFailures('rate_limited')[0], /\(429\).*tried again in 3 s/)
  await node.unpublish(volume)
})

/** Its Vault token grows old enough to be doubted while the next two tests run. */
let lasting: PodVolume

t.test('a slow Vault delays only the volumes that need it', SLOW, async (t) => {
  lasting = await node.publish({ importName: 'app' })
  front.holdMs = 1_500
  t.teardown(() => {
    front.holdMs = 0
  })
  const hasty = podVolume(node.folder, vault.issuer, { importName: 'app', serviceAccount: 'hasty' })
  const startedAt = performance.now()
  const error = await kubelet.nodePublish({ ...hasty.args, timeoutMs: 1_000 }).catch((error) => error)
  t.ok(error instanceof KubeletError)
  t.equal(error.code, 'DEADLINE_EXCEEDED')
  t.match(error.details, /gave up before kubelet's deadline while publishing the volume/)
  t.ok(performance.now() - startedAt < 1_000, 'it gave up in time to say why')
  t.equal(node.leftovers(hasty.target), '')

  const patient = node.publish({ importName: 'app', serviceAccount: 'patient' })
  const publishing = performance.now()
  t.ok(await kubelet.probe())
  await node.republish(lasting)
  t.ok(performance.now() - publishing < 1_000, 'republish and probe do not wait')
  const slow = await patient
  t.equal(slow.read('password'), lasting.read('password'))
  front.holdMs = 0
  await node.unpublish(slow)
  await until('the tokens to go', async () => (await vault.loginTokens()).length === 1)
})

t.test('tokens of three seconds are renewed and replaced while secrets rotate', SLOW, async (t) => {
  await vault.writeRole('brief', { token_ttl: 3, token_max_ttl: 6 })
  await node.writeImport('brief', { ...spec, role: 'brief' })
  const tokens = await vault.loginTokens()
  const before = await node.metrics()
  const volume = await node.publish({ importName: 'brief' })
  const startedAt = performance.now()
  for (let rotation = 0; performance.now() - startedAt < 8_000; rotation++) {
    const password = `rotation ${rotation}`
    await vault.put('app', { password })
    await until('the rotation', () => volume.read('password') === password, { timeoutMs: 3_000 })
    await node.republish(volume)
  }
  const after = await node.metrics()
  const grown = (operation: string) => {
    const labels = { operation, result: 'ok' }
    const name = 'vault_call_duration_seconds_count'
    return after.sum(name, labels) - before.sum(name, labels)
  }
  t.comment(`${grown('login')} logins, ${grown('renew')} renewals`)
  t.ok(grown('renew') >= 1, 'renewed while that lasts')
  t.ok(grown('login') >= 2 && grown('login') <= 4, 'then replaced')
  t.equal(
    after.sum('refreshes_total', { result: 'failed' }),
    before.sum('refreshes_total', { result: 'failed' }),
  )
  await node.unpublish(volume)
  t.strictSame(await vault.loginTokens(), tokens)
})

t.test('a token that a Vault admin revoked is replaced by a new login', SLOW, async (t) => {
  const tokens = await vault.loginTokens()
  t.equal(tokens.length, 1)
  await vault.admin.write('auth/token/revoke-accessor', { accessor: tokens[0] })
  await vault.put('app', { password: 'after the revocation' })
  await until('the new value', () => lasting.read('password') === 'after the revocation', {
    timeoutMs: 5_000,
  })
  t.notSame(await vault.loginTokens(), tokens)
  await node.unpublish(lasting)
  t.strictSame(await vault.loginTokens(), [])
})
