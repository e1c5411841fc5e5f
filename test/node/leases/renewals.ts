import t from 'tap'
import { FaultError } from '../../../src/core/faults/fault.ts'
import { sourceCall } from '../../../src/core/imports/calls.ts'
import type { ImportSpec } from '../../../src/core/imports/import.ts'
import type { Lease } from '../../../src/core/ports/leases.ts'
import { fileSpec, importSpec } from '../../fakes/imports.ts'
import { MINUTE, NodeBench } from '../../harness/node-bench.ts'

/** Leases in the files are renewed, whatever becomes of the import, of Vault or of another lease. */
const CREDS = 'database/creds/app'
const OTHER = 'database/creds/other'
const AWAY = new FaultError('vault_error', { reason: 'the database does not answer' })

function leased(name: string, path: string, over: Partial<Parameters<typeof sourceCall>[0]> = {}) {
  const lease = { renewAt: undefined, revokeOnUnmount: undefined }
  const none = { version: undefined, data: undefined }
  return sourceCall({ name, path, method: 'GET', ...none, lease, ...over })
}

function spec(over: Partial<ImportSpec> = {}): ImportSpec {
  const user = fileSpec({ name: 'db-user', key: 'username', call: leased('db', CREDS) })
  return importSpec({ files: [fileSpec(), user], ...over })
}

function withTwo(): ImportSpec {
  const other = fileSpec({ name: 'other-user', key: 'username', call: leased('other', OTHER) })
  return spec({ files: [...spec().files, other] })
}

const user = (bench: NodeBench) => bench.content('volume-1', 'db-user')

/** Renewals of one path are answered as `answer` says. */
function onRenew(bench: NodeBench, path: string, answer: () => Promise<undefined>): void {
  const renew = bench.issuer.renew.bind(bench.issuer)
  bench.issuer.renew = (lease: Lease, signal) => {
    const { request } = lease
    return request.kind === 'call' && request.call.path === path ? answer() : renew(lease, signal)
  }
}

const badEdits: Record<string, (bench: NodeBench) => void> = {
  'an import that is gone': (bench) => bench.imports.delete('my-namespace1', 'python-backend'),
  'an import that the cluster admin forbids': (bench) =>
    bench.imports.put(spec({ address: 'http://vault.example.org' })),
  'a role that may not log in': (bench) => {
    bench.issuer.failWith.logIn = new FaultError('login_denied')
    bench.imports.put(spec({ role: 'another' }))
  },
  'a path that may not be read': (bench) => {
    bench.store.failWith = new FaultError('read_denied')
    const user = fileSpec({ name: 'db-user', key: 'username', call: leased('db', OTHER) })
    bench.imports.put(spec({ files: [fileSpec(), user] }))
  },
  'a call whose answer cannot become files': (bench) => {
    const user = fileSpec({ name: 'db-user', key: 'no-such', call: leased('db', OTHER) })
    bench.imports.put(spec({ files: [fileSpec(), user] }))
  },
  'files that do not fit': (bench) => {
    bench.node.failWriteWith = new FaultError('volume_full')
    const user = fileSpec({ name: 'db-user', key: 'username', call: leased('db', OTHER) })
    bench.imports.put(spec({ files: [fileSpec(), user] }))
  },
}

for (const [what, edit] of Object.entries(badEdits)) {
  t.test(`${what}: what the files hold is renewed all the same`, async (t) => {
    const bench = new NodeBench(spec())
    await bench.publish()
    await bench.clock.advance(MINUTE)
    edit(bench)
    await bench.clock.advance(180 * MINUTE)
    t.equal(user(bench), `${CREDS}-1`)
    t.ok(bench.issuer.tokensAlive.has('own-1'))
    const renewals = bench.issuer.count(`renew ${CREDS}`)
    t.ok(renewals >= 8 && renewals <= 14, `${renewals} renewals`)
    t.notOk(bench.log.lines.some(({ message }) => /recovered|in sync/.test(message)))
  })
}

t.test('an import that is gone for a while costs nothing: no other pair', async (t) => {
  const bench = new NodeBench(spec())
  await bench.publish()
  bench.imports.delete('my-namespace1', 'python-backend')
  await bench.clock.advance(120 * MINUTE)
  bench.imports.put(spec())
  await bench.clock.advance(MINUTE)
  t.equal(bench.issuer.count('issue'), 1)
  t.equal(bench.service.volumes.countByState().inSync, 1)
})

t.test('a lease whose renewal fails keeps no other one from being renewed', async (t) => {
  const bench = new NodeBench(withTwo())
  await bench.publish()
  onRenew(bench, CREDS, () => Promise.reject(AWAY))
  await bench.clock.advance(25 * MINUTE)
  t.equal(bench.issuer.count(`renew ${OTHER}`), 1)
})

t.test('a lease whose renewal fails keeps no other one from being replaced', async (t) => {
  const bench = new NodeBench(withTwo())
  await bench.publish()
  onRenew(bench, CREDS, () => Promise.reject(AWAY))
  onRenew(bench, OTHER, () => Promise.resolve(undefined))
  await bench.clock.advance(25 * MINUTE)
  t.equal(bench.content('volume-1', 'other-user'), `${OTHER}-3`)
  t.equal(user(bench), `${CREDS}-1`)
  t.match(bench.notifier.events.join(), /failed vault_error/)
  t.match(bench.notifier.events.join(), /rotated other-user/)
})

t.test('a lease whose renewal fails keeps no shared secret from changing', async (t) => {
  const bench = new NodeBench(spec())
  await bench.publish()
  onRenew(bench, CREDS, () => Promise.reject(AWAY))
  await bench.clock.advance(22 * MINUTE)
  bench.setPassword('two')
  await bench.clock.advance(3 * MINUTE)
  t.equal(bench.content(), 'two')
  t.equal(bench.service.volumes.countByState().stale, 1)
})

t.test(
  'a lease that has ended while its renewal failed is issued again, though renewals fail on',
  async (t) => {
    const bench = new NodeBench(spec())
    await bench.publish()
    onRenew(bench, CREDS, () => Promise.reject(AWAY))
    await bench.clock.advance(45 * MINUTE)
    t.not(user(bench), `${CREDS}-1`)
    t.ok(bench.issuer.count('issue') <= 3)
  },
)

t.test(
  'answers that cannot become files are not asked for ever faster as a lease nears its end',
  async (t) => {
    const bench = new NodeBench(spec())
    await bench.publish()
    bench.imports.put(
      spec({ files: [fileSpec({ name: 'db-user', key: 'no-such', call: leased('db', OTHER) })] }),
    )
    await bench.clock.advance(60 * MINUTE)
    t.ok(bench.issuer.count(`issue ${OTHER}`) <= 10, `${bench.issuer.count(`issue ${OTHER}`)} in an hour`)
    t.same([...bench.issuer.tokensAlive], ['own-1'])
  },
)

t.test('an edited lease.revokeOnUnmount counts at once', async (t) => {
  const bench = new NodeBench(spec())
  await bench.publish()
  const call = leased('db', CREDS, { lease: { renewAt: undefined, revokeOnUnmount: false } })
  bench.imports.put(spec({ files: [fileSpec(), fileSpec({ name: 'db-user', key: 'username', call })] }))
  await bench.clock.advance(MINUTE)
  await bench.unpublish()
  t.same(bench.issuer.revoked, [])
})

t.test('after a change of the CA replaced leases are revoked by the new one', async (t) => {
  const bench = new NodeBench(spec({ caCert: 'old CA' }))
  await bench.publish()
  const seen: (string | undefined)[] = []
  const revoke = bench.issuer.revoke.bind(bench.issuer)
  bench.issuer.revoke = (lease, signal) => {
    seen.push(lease.identity.endpoint.caCert)
    return revoke(lease, signal)
  }
  bench.imports.put(spec({ caCert: 'new CA' }))
  await bench.clock.advance(2 * MINUTE)
  t.same(seen, ['new CA'])
  t.same(bench.issuer.revoked, ['own-1'])
})
