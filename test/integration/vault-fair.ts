import t from 'tap'
import type { Clock } from '../../src/core/ports/clock.ts'
import type { ServiceAccountToken } from '../../src/core/ports/pod.ts'
import type { Identity } from '../../src/core/ports/vault.ts'
import { startVaultFront } from '../fakes/vault-front.ts'
import { faulty } from '../harness/faulty.ts'
import { realClock } from '../harness/real-clock.ts'
import { loginTokens } from '../harness/vault/login-tokens.ts'
import { setUpKv, startOpenBaoBench } from '../harness/vault/openbao-bench.ts'
import {
  createVaultBench,
  patient,
  testIdentity,
  testToken,
  type VaultBench,
} from '../harness/vault/vault-bench.ts'

const HOUR = 3_600_000

const { admin, bao, issuer } = await startOpenBaoBench(t)
await setUpKv(admin)
await admin.enableKv1('attackers')
await admin.write('kv1/app', { password: 'x' })
await admin.write('attackers/app', { password: 'x' })
await admin.writeReadPolicy('fair', ['kv1/*', 'attackers/*'])
const front = await startVaultFront(bao.address)
t.teardown(() => front.close())

/** A node's Vault, with the plugin's default settings. */
function node(t: { teardown(task: () => Promise<void>): void }, clock: Clock = realClock): VaultBench {
  const bench = createVaultBench(clock, { callsPerSecond: 50, concurrency: 16 })
  t.teardown(() => bench.store.close())
  return bench
}

/** A pod of the namespace, which has a role of its own. */
async function pod(namespace: string, more: { ttl?: number; more?: object } = {}, life = HOUR) {
  const role = namespace
  const bound = { namespace, serviceAccount: 'backend', audience: 'vault', policies: ['fair'] }
  await admin.writeJwtRole('jwt', role, { ...bound, ttl: 600, ...more })
  const identity = testIdentity(front.address, { role, podNamespace: namespace })
  const tokenAt = (now: number): ServiceAccountToken =>
    testToken(issuer.issue({ namespace, serviceAccount: 'backend', audience: 'vault' }), now + life)
  return { identity, tokenAt, token: tokenAt(Date.now()) }
}

type Pod = { identity: Identity; token: ServiceAccountToken }

/** Milliseconds of the first read, which logs in, then of the slowest of some more. */
async function timed({ store }: VaultBench, { identity, token }: Pod, path = 'kv1/app') {
  const times: number[] = []
  for (let i = 0; i < 5; i++) {
    const startedAt = performance.now()
    await store.read(identity, path, [token], patient)
    times.push(performance.now() - startedAt)
  }
  const [first = Number.NaN, ...others] = times.map(Math.round)
  return { first, slowest: Math.max(...others) }
}

/** Many reads at once, each of another path; nothing is stored there. */
function flood({ store }: VaultBench, { identity, token }: Pod, paths: readonly string[]) {
  const abort = new AbortController()
  const reads = paths.map((path) => store.read(identity, path, [token], abort.signal).catch(() => undefined))
  return { end: () => abort.abort(), done: Promise.all(reads) }
}

const named = (mount: string, count: number) => Array.from({ length: count }, (_, i) => `${mount}/p-${i}`)

t.test('behind 400 paths of another namespace a first read waits for a turn', async (t) => {
  const bench = node(t)
  const attack = flood(bench, await pod('greedy'), named('attackers', 400))
  const { first, slowest } = await timed(bench, await pod('victim'))
  t.comment(`first read ${first} ms, slowest of the next ${slowest} ms`)
  t.ok(first < 1_000 && slowest < 500, `${first} and ${slowest} ms`)
  attack.end()
})

t.test('one import of 400 paths is as quick as ever on its own', async (t) => {
  const bench = node(t)
  const startedAt = performance.now()
  await flood(bench, await pod('alone'), named('attackers', 400)).done
  const tookMs = Math.round(performance.now() - startedAt)
  t.comment(`${tookMs} ms`)
  t.ok(tookMs < 9_000, `${tookMs} ms: 50 at once and 50 a second are 7 s`)
})

t.test('a quota that another namespace meets at its mount is not the victim’s', async (t) => {
  await admin.write('sys/quotas/config', { enable_rate_limit_response_headers: true })
  await admin.write('sys/quotas/rate-limit/attackers', { path: 'attackers/', rate: 1, interval: '30s' })
  t.teardown(() => admin.write('sys/quotas/rate-limit/attackers', { path: 'attackers/', rate: 10_000 }))
  const bench = node(t)
  const limited = await pod('limited')
  await flood(bench, limited, named('attackers', 30)).done
  t.ok(bench.meter.count('vault read rate_limited') > 0, 'the quota was met')
  await t.rejects(
    bench.store.read(limited.identity, 'attackers/app', [limited.token], patient),
    faulty('rate_limited'),
  )
  const { first, slowest } = await timed(bench, await pod('unlimited'))
  t.comment(`first read ${first} ms, slowest of the next ${slowest} ms`)
  t.ok(first < 1_000 && slowest < 500, `${first} and ${slowest} ms`)
})

t.test('an engine that hangs takes no places from others', async (t) => {
  front.hangs = (path) => path.startsWith('attackers/')
  t.teardown(() => {
    front.hangs = () => false
  })
  const bench = node(t)
  const stuck = await pod('stuck')
  const attack = flood(bench, stuck, named('attackers', 200))
  // By now all that may be under way is, and hangs.
  await realClock.sleep(500)
  const victim = await timed(bench, await pod('unstuck'))
  t.comment(`first read ${victim.first} ms, slowest of the next ${victim.slowest} ms`)
  t.ok(victim.first < 1_000 && victim.slowest < 500, `${victim.first} and ${victim.slowest} ms`)
  const own = await timed(bench, stuck)
  t.ok(own.slowest < 500, 'nor from its own namespace at other mounts')
  attack.end()
})

t.test('a policy taken away leaves one token, and logins become rare', async (t) => {
  let passedMs = 0
  const bench = node(t, {
    ...realClock,
    now: () => Date.now() + passedMs,
    monotonic: () => realClock.monotonic() + passedMs,
  })
  const denied = await pod('denied')
  const read = () => bench.store.read(denied.identity, 'kv1/app', [denied.token], patient)
  await read()
  const before = await loginTokens(admin)
  await admin.writeJwtRole('jwt', 'denied', {
    ...{ namespace: 'denied', serviceAccount: 'backend', audience: 'vault', policies: ['none'], ttl: 600 },
  })
  await admin.writeReadPolicy('fair', ['attackers/*'])
  t.teardown(() => admin.writeReadPolicy('fair', ['kv1/*', 'attackers/*']))
  for (let refresh = 0; refresh < 12; refresh++) {
    passedMs += 20_000
    await t.rejects(read(), faulty('read_denied'))
  }
  await realClock.sleep(300)
  t.equal((await loginTokens(admin)).length, before.length, 'what was replaced was revoked')
  const logins = bench.meter.count('login jwt ok')
  t.ok(logins <= 4, `${logins} logins in four minutes of twelve refreshes`)
})

t.test('a token that may not revoke itself is not retried, and reported once', async (t) => {
  const bench = node(t)
  const { identity, token } = await pod('bare', { more: { token_no_default_policy: true } })
  for (let i = 0; i < 3; i++) {
    const own = await bench.issuer.logIn(identity, [token], patient)
    const request = { kind: 'token', key: 'token', renewAt: 66, revokeOnUnmount: true } as const
    const holding = {
      ...{ id: `${i}`, request, identity, token: own, vaultLease: undefined, expiresAt: undefined },
      ...{ data: { values: new Map(), version: undefined }, issuedAt: Date.now(), state: 'active' as const },
    }
    t.equal(await bench.issuer.revoke(holding, patient), 'not-permitted')
  }
  t.equal(bench.log.lines.filter(({ level }) => level === 'warn').length, 1)
  t.match(bench.log.text, 'auth/token/revoke-self')
})

for (const hours of [-3, 3]) {
  t.test(`with the wall clock set by ${hours} hours tokens live on and pods log in`, async (t) => {
    let setMs = 0
    const bench = node(t, { ...realClock, now: () => Date.now() + setMs })
    const old = await pod(`old${hours > 0 ? 'forward' : 'back'}`, { ttl: 2 })
    const read = ({ identity, token }: Pod) => bench.store.read(identity, 'kv1/app', [token], patient)
    await read(old)
    setMs = hours * HOUR
    for (let i = 0; i < 4; i++) {
      await realClock.sleep(700)
      await read(old)
    }
    t.equal(bench.meter.count('login jwt ok'), 1, 'renewed in time')
    t.ok(bench.meter.count('vault renew ok') >= 1)
    await realClock.sleep(2_300)
    await read(old)
    t.equal(bench.meter.count('login jwt ok'), 2, 'replaced after its end')
    await read(await pod(`new${hours > 0 ? 'forward' : 'back'}`))
    t.equal(bench.meter.count('vault read read_denied'), 0)
  })
}
