import t from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import { sourceCall } from '../../src/core/imports/calls.ts'
import { fileSpec } from '../fakes/imports.ts'
import { MINUTE, NodeBench } from '../harness/node-bench.ts'

const HOUR = 60 * MINUTE
const CREDS = 'database/creds/app'

function leased() {
  const lease = { renewAt: undefined, revokeOnUnmount: undefined }
  const none = { version: undefined, data: undefined }
  return sourceCall({ name: 'db', path: CREDS, method: 'GET', ...none, lease })
}

for (const hours of [-3, 3]) {
  const what = `the wall clock set by ${hours} h`

  t.test(`${what}: the next rotation comes within an interval, and no faster than ever`, async (t) => {
    const bench = new NodeBench()
    await bench.publish()
    await bench.clock.advance(5 * MINUTE)
    const before = bench.store.reads.length
    bench.clock.step(hours * HOUR)
    bench.setPassword('two')
    await bench.clock.advance(2.2 * MINUTE)
    t.equal(bench.content(), 'two')
    await bench.clock.advance(HOUR)
    const reads = bench.store.reads.length - before
    t.ok(reads >= 27 && reads <= 36, `${reads} reads in an hour of intervals of 2 minutes`)
  })

  t.test(`${what}: staleness is reported as it is`, async (t) => {
    const bench = new NodeBench()
    await bench.publish()
    await bench.clock.advance(5 * MINUTE)
    bench.clock.step(hours * HOUR)
    t.ok(bench.service.volumes.oldestSyncSeconds(bench.clock.monotonic()) <= 132)
    bench.store.failWith = new FaultError('unreachable')
    await bench.clock.advance(20 * MINUTE)
    const seconds = bench.service.volumes.oldestSyncSeconds(bench.clock.monotonic())
    t.ok(seconds > 17 * 60 && seconds < 24 * 60, `${seconds} s`)
    bench.clock.step(-hours * HOUR)
    bench.store.failWith = undefined
    await bench.clock.advance(6 * MINUTE)
    t.equal(bench.service.volumes.countByState().inSync, 1)
    const [line] = bench.log.lines.filter(({ message }) => message === 'volume is in sync again')
    const { staleSeconds = 0 } = (line?.fields ?? {}) as { staleSeconds?: number }
    t.ok(staleSeconds > 15 * 60 && staleSeconds < 30 * 60, `${staleSeconds} s`)
  })

  t.test(`${what}: a backoff ends when it would have`, async (t) => {
    const bench = new NodeBench()
    await bench.publish()
    bench.store.failWith = new FaultError('rate_limited', { retryAfterMs: 20 * MINUTE })
    await bench.clock.advance(3 * MINUTE)
    bench.clock.step(hours * HOUR)
    bench.store.failWith = undefined
    bench.setPassword('two')
    const before = bench.store.reads.length
    await bench.clock.advance(15 * MINUTE)
    t.equal(bench.store.reads.length, before)
    await bench.clock.advance(10 * MINUTE)
    t.equal(bench.content(), 'two')
  })

  t.test(`${what}: new pods start, and share reads as ever`, async (t) => {
    const bench = new NodeBench()
    await bench.publish()
    bench.clock.step(hours * HOUR)
    await bench.publish({ volumeId: 'volume-2' })
    t.equal(bench.content('volume-2'), 'one')
    const before = bench.store.reads.length
    await bench.clock.advance(20 * MINUTE)
    t.ok(bench.store.reads.length - before <= 13, `${bench.store.reads.length - before} reads of two volumes`)
  })

  t.test(`${what}: leases are renewed in time, never issued again, revoked after their notice`, async (t) => {
    const bench = new NodeBench({ files: [fileSpec({ name: 'user', key: 'username', call: leased() })] })
    await bench.publish()
    await bench.clock.advance(10 * MINUTE)
    bench.clock.step(hours * HOUR)
    await bench.clock.advance(3 * HOUR)
    t.equal(bench.issuer.count('issue'), 1)
    const renewals = bench.issuer.count('renew')
    t.ok(renewals >= 8 && renewals <= 12, `${renewals} renewals`)
    bench.issuer.renewalsLeft = 0
    await bench.clock.advance(20 * MINUTE)
    bench.issuer.renewalsLeft = 1_000
    bench.clock.step(-hours * HOUR)
    await bench.clock.advance(MINUTE)
    t.same(bench.issuer.revoked, ['own-1'])
  })

  t.test(`${what} between two processes: leases are renewed, and not replaced`, async (t) => {
    const bench = new NodeBench({ files: [fileSpec({ name: 'user', key: 'username', call: leased() })] })
    await bench.publish()
    await bench.clock.advance(5 * MINUTE)
    bench.clock.step(hours * HOUR)
    await bench.restart()
    await bench.publish()
    await bench.clock.advance(HOUR)
    t.equal(bench.issuer.count('issue'), 1)
    t.equal(bench.content('volume-1', 'user'), `${CREDS}-1`)
    const renewals = bench.issuer.count('renew')
    t.ok(renewals >= 2 && renewals <= 5, `${renewals} renewals in an hour`)
  })

  t.test(`${what}: times that other nodes compare are in wall time`, async (t) => {
    const name = 'app-secret'
    const data = [{ key: 'PASSWORD', file: 'db-password' }]
    const secret = { name, type: 'Opaque', deletionPolicy: 'Delete', data } as const
    const bench = new NodeBench({ secretSync: [secret as never] }, { allowSecretSync: true })
    await bench.publish()
    bench.clock.step(hours * HOUR)
    await bench.clock.advance(3 * MINUTE)
    const seenAt = bench.synced.at(-1)?.[0]?.fetchedAt ?? 0
    t.ok(Math.abs(seenAt - bench.clock.now()) < 3 * MINUTE)
  })
}

t.test('a secret ID is replaced by its TTL although the wall clock was set back meanwhile', async (t) => {
  const credential = { format: 'SecretID', name: 'id', mode: undefined } as const
  const bench = new NodeBench(
    { credentials: [{ ...credential, role: 'app', authPath: 'approle' }] },
    { allowTokenExport: true },
  )
  bench.issuer.endsAfterMs = 30 * MINUTE
  await bench.publish()
  await bench.clock.advance(MINUTE)
  bench.clock.step(-3 * HOUR)
  await bench.clock.advance(20 * MINUTE)
  t.equal(JSON.parse(bench.content('volume-1', 'id') ?? '').secretId, 'secret-id-2')
})

t.test('certificates whose end our clock takes for past are not asked for without pause', async (t) => {
  const lease = undefined
  const none = { version: undefined, data: undefined, lease }
  const call = sourceCall({ name: 'web', path: 'pki/issue/web', method: 'PUT', ...none })
  const bench = new NodeBench({ files: [fileSpec({ name: 'crt', key: 'username', call })] })
  bench.issuer.lease = undefined
  bench.issuer.endsAfterMs = -2 * HOUR
  await bench.publish()
  await bench.clock.advance(HOUR)
  const issues = bench.issuer.count('issue')
  t.ok(issues > 5 && issues < 25, `${issues} issues in an hour`)
})
