import t from 'tap'
import { FaultError } from '../../../src/core/faults/fault.ts'
import { sourceCall } from '../../../src/core/imports/calls.ts'
import type { ImportSpec } from '../../../src/core/imports/import.ts'
import { fileSpec, importSpec } from '../../fakes/imports.ts'
import { MINUTE, NodeBench } from '../../harness/node-bench.ts'

/** However Vault answers, nothing is asked of it, and nothing written, without pause. */
const none = { version: undefined, data: undefined }

function withCertificates(count: number): Partial<ImportSpec> {
  const files = Array.from({ length: count }, (_, n) => {
    const call = sourceCall({
      name: `web${n}`,
      path: `pki/issue/web${n}`,
      method: 'PUT',
      lease: undefined,
      ...none,
    })
    return fileSpec({ name: `crt-${n}`, key: 'username', call })
  })
  return { files: [fileSpec(), ...files] }
}

function withLease(): Partial<ImportSpec> {
  const lease = { renewAt: undefined, revokeOnUnmount: undefined }
  const call = sourceCall({ name: 'db', path: 'database/creds/app', method: 'GET', lease, ...none })
  return { files: [fileSpec({ name: 'user', key: 'username', call })] }
}

t.test(
  'tokens that Vault will not revoke: certificates are issued once, however long that lasts',
  async (t) => {
    const bench = new NodeBench(withCertificates(3))
    bench.issuer.lease = undefined
    bench.issuer.endsAfterMs = 90 * 24 * 60 * MINUTE
    bench.issuer.failWith.revoke = new FaultError('read_denied')
    await bench.publish()
    const contents = [0, 1, 2].map((n) => bench.content('volume-1', `crt-${n}`))
    await bench.clock.advance(50 * MINUTE)
    t.equal(bench.issuer.count('issue'), 3)
    t.same(
      [0, 1, 2].map((n) => bench.content('volume-1', `crt-${n}`)),
      contents,
    )
    t.equal(bench.node.writes.length, 1)
    const tries = bench.issuer.count('revoke')
    t.ok(tries <= 3 * 105, `${tries} tries to revoke 3 tokens in 50 minutes`)
    delete bench.issuer.failWith.revoke
    await bench.clock.advance(5 * MINUTE)
    t.equal(bench.issuer.tokensAlive.size, 0)
  },
)

t.test('a lease that is edited away while nothing can be revoked leaves no date behind', async (t) => {
  const bench = new NodeBench(withCertificates(3))
  bench.issuer.lease = undefined
  bench.issuer.failWith.revoke = new FaultError('read_denied')
  await bench.publish()
  bench.imports.put(importSpec())
  await bench.clock.advance(5 * MINUTE)
  const before = bench.log.lines.length + bench.store.reads.length
  await bench.clock.advance(10 * MINUTE)
  const refreshes = bench.meter.count('rotated unchanged')
  t.ok(refreshes < 60, `${refreshes} refreshes in 15 minutes`)
  t.ok(bench.log.lines.length + bench.store.reads.length - before < 200)
})

t.test('leases of a second are issued at a pace that grows, and written so', async (t) => {
  const bench = new NodeBench(withLease())
  bench.issuer.lease = { durationMs: 1_000, renewable: false }
  await bench.publish()
  await bench.clock.advance(60 * MINUTE)
  const issues = bench.issuer.count('issue')
  t.ok(issues > 5 && issues <= 25, `${issues} issues in an hour`)
  t.ok(bench.node.writes.length <= 25, `${bench.node.writes.length} writes in an hour`)
})

t.test('certificates of six seconds are replaced each in its time', async (t) => {
  const bench = new NodeBench(withCertificates(1))
  bench.issuer.lease = undefined
  bench.issuer.endsAfterMs = 6_000
  await bench.publish()
  await bench.clock.advance(MINUTE)
  const issues = bench.issuer.count('issue')
  t.ok(issues >= 13 && issues <= 16, `${issues} issues in a minute, each due after 4 s`)
})

t.test('leases of a minute are replaced each in its time', async (t) => {
  const bench = new NodeBench(withLease())
  bench.issuer.lease = { durationMs: MINUTE, renewable: false }
  await bench.publish()
  await bench.clock.advance(60 * MINUTE)
  const issues = bench.issuer.count('issue')
  t.ok(issues >= 80 && issues <= 100, `${issues} issues in an hour, each due after 40 s`)
})

t.test('a lease that is renewed by a second each time does not refresh without pause', async (t) => {
  const bench = new NodeBench(withLease())
  bench.issuer.lease = { durationMs: 100, renewable: true }
  await bench.publish()
  await bench.clock.advance(MINUTE)
  const renewals = bench.issuer.count('renew')
  t.ok(renewals <= 61, `${renewals} renewals in a minute`)
  t.equal(bench.issuer.count('issue'), 1)
})
