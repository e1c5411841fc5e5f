import t from 'tap'
import { FaultError } from '../../../src/core/faults/fault.ts'
import { sourceCall } from '../../../src/core/imports/calls.ts'
import type { ImportSpec } from '../../../src/core/imports/import.ts'
import { fileSpec } from '../../fakes/imports.ts'
import { MINUTE, NodeBench } from '../../harness/node-bench.ts'

const CREDS = 'database/creds/app'

function withDatabase(): Partial<ImportSpec> {
  const db = sourceCall({
    name: 'db',
    path: CREDS,
    method: 'GET',
    version: undefined,
    data: undefined,
    lease: { renewAt: undefined, revokeOnUnmount: undefined },
  })
  return { files: [fileSpec(), fileSpec({ name: 'db-user', key: 'username', call: db })] }
}

const user = (bench: NodeBench) => bench.content('volume-1', 'db-user')

t.test('a restart resumes leases: nothing is issued, written or revoked', async (t) => {
  const bench = new NodeBench(withDatabase())
  await bench.publish()
  await bench.restart()
  await bench.publish()
  await bench.clock.advance(120 * MINUTE)
  t.equal(user(bench), `${CREDS}-1`)
  t.equal(bench.issuer.count('issue'), 1)
  t.same(bench.issuer.revoked, [])
  t.ok(bench.issuer.count('renew') >= 5)
  t.equal(bench.node.writes.length, 1)
})

t.test('leases are renewed before kubelet has brought a token', async (t) => {
  const bench = new NodeBench(withDatabase())
  await bench.publish()
  await bench.restart()
  const before = bench.store.reads.length
  await bench.clock.advance(120 * MINUTE)
  t.ok(bench.issuer.count('renew') >= 5, `${bench.issuer.count('renew')} renewals`)
  t.equal(bench.store.reads.length, before)
  t.equal(bench.service.volumes.countByState().resumed, 1)
  t.same(bench.notifier.events, [])
})

t.test('a volume that goes right after a restart has its leases revoked', async (t) => {
  const bench = new NodeBench(withDatabase())
  await bench.publish()
  await bench.restart()
  t.equal(bench.leaseStore.sealed.size, 1)
  await bench.unpublish()
  t.equal(bench.issuer.tokensAlive.size, 0)
  t.equal(bench.leaseStore.sealed.size, 0, 'the store goes with the mount')
})

t.test(
  'a lease that could not be saved is replaced: the new pair first, the old one ends by its TTL',
  async (t) => {
    const bench = new NodeBench(withDatabase())
    bench.leaseStore.isRefused = true
    await bench.publish()
    t.match(bench.log.lines.map(({ message }) => message).join(), /cannot be kept over a restart/)
    await bench.restart()
    t.equal(user(bench), `${CREDS}-1`)
    await bench.publish()
    await bench.clock.advance(1_000)
    t.equal(user(bench), `${CREDS}-2`)
    await bench.clock.advance(2 * MINUTE)
    t.same(bench.issuer.revoked, [], 'the next process does not know the old one')
  },
)

t.test(
  'killed between an issue and the files: the new lease goes into the files, the old one is revoked',
  async (t) => {
    const bench = new NodeBench(withDatabase())
    await bench.publish()
    bench.issuer.renewalsLeft = 0
    // As a kill would: nothing after the writing of the files runs.
    await bench.clock.advance(19.5 * MINUTE)
    bench.node.failWriteWith = new FaultError('volume_io')
    await bench.clock.advance(0.5 * MINUTE)
    t.equal(user(bench), `${CREDS}-1`)
    t.ok(bench.issuer.tokensAlive.has('own-1'), 'what the files hold stays good')
    bench.node.failWriteWith = undefined
    bench.issuer.renewalsLeft = 1_000
    await bench.kill()
    await bench.publish()
    await bench.clock.advance(1_000)
    t.equal(user(bench), `${CREDS}-2`)
    await bench.clock.advance(MINUTE)
    t.same([...bench.issuer.tokensAlive], ['own-2'])
  },
)

t.test('killed while a call is under way: its token is known to the next process and revoked', async (t) => {
  const bench = new NodeBench(withDatabase())
  await bench.publish()
  bench.issuer.renewalsLeft = 0
  const issue = bench.issuer.issue.bind(bench.issuer)
  bench.issuer.issue = () => new Promise(() => {})
  await bench.clock.advance(20 * MINUTE)
  t.ok(bench.issuer.tokensAlive.has('own-2'), 'logged in, nothing issued yet')
  bench.issuer.issue = issue
  // Its call never comes back.
  await bench.kill()
  await bench.publish()
  await bench.clock.advance(1_000)
  t.equal(user(bench), `${CREDS}-2`)
  await bench.clock.advance(MINUTE)
  t.same([...bench.issuer.tokensAlive], ['own-3'])
})

t.test('a first publish killed before its files were complete: its leases are revoked', async (t) => {
  const bench = new NodeBench(withDatabase())
  await bench.publish()
  const entry = bench.ledger.load()[0]!
  bench.ledger.put({ ...entry, phase: 'mounting' })
  await bench.restart()
  await bench.clock.advance(1_000)
  t.equal(bench.issuer.tokensAlive.size, 0)
})

t.test('neither the ledger nor the sealed leases show a token, a lease or a credential', async (t) => {
  const bench = new NodeBench(withDatabase())
  await bench.publish()
  const secrets = /own-1|lease-1|creds\/app-1/
  t.match(bench.content('volume-1', 'db-user'), secrets)
  const [entry] = bench.ledger.load()
  t.notMatch(JSON.stringify(entry), secrets)
  const [sealed] = bench.leaseStore.sealed.values()
  t.ok(entry?.leaseStoreKey !== undefined && sealed !== undefined, 'leases were saved')
  t.notMatch(String(sealed), secrets)
})
