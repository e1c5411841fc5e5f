import t from 'tap'
import { FaultError } from '../../../src/core/faults/fault.ts'
import { sourceCall } from '../../../src/core/imports/calls.ts'
import type { FileSpec, ImportSpec } from '../../../src/core/imports/import.ts'
import { fileSpec, importSpec } from '../../fakes/imports.ts'
import { faulty } from '../../harness/faulty.ts'
import { MINUTE, NodeBench } from '../../harness/node-bench.ts'

const CREDS = 'database/creds/app'
const away = () => new FaultError('unreachable', { address: 'https://vault.example.org' })

function call(over: Partial<Parameters<typeof sourceCall>[0]> = {}) {
  const none = { version: undefined, data: undefined }
  const lease = { renewAt: undefined, revokeOnUnmount: undefined }
  return sourceCall({ name: 'db', path: CREDS, method: 'GET', ...none, lease, ...over })
}

/** User and password of one issue, beside a file from KV. */
function withDatabase(over: Partial<Parameters<typeof sourceCall>[0]> = {}): Partial<ImportSpec> {
  const db = call(over)
  const from = (name: string, key: string): FileSpec => fileSpec({ name, key, call: db })
  return { files: [fileSpec(), from('db-user', 'username'), from('db-pass', 'password')] }
}

const pair = (bench: NodeBench, volumeId?: string) =>
  [bench.content(volumeId, 'db-user'), bench.content(volumeId, 'db-pass')].join()

t.test('one issue makes all of its files, and the clock never makes another', async (t) => {
  const bench = new NodeBench(withDatabase())
  await bench.publish()
  t.equal(pair(bench), `${CREDS}-1,${CREDS}-1`)
  await bench.clock.advance(19 * MINUTE)
  t.equal(bench.issuer.count('issue'), 1)
  t.equal(bench.issuer.count('renew'), 0)
  t.equal(bench.node.writes.length, 1)
})

t.test('a lease is renewed at its share of its life, for as long as the pod lives', async (t) => {
  const bench = new NodeBench(withDatabase())
  await bench.publish()
  await bench.clock.advance(21 * MINUTE)
  t.equal(bench.issuer.count('renew'), 1, 'after 66 % of 30 minutes')
  await bench.clock.advance(10 * 60 * MINUTE)
  t.equal(bench.issuer.count('issue'), 1)
  t.ok(bench.issuer.count('renew') >= 29, `${bench.issuer.count('renew')} renewals`)
  t.equal(pair(bench), `${CREDS}-1,${CREDS}-1`)
  t.equal(bench.node.writes.length, 1)
  t.same(bench.notifier.events, [])
})

t.test('spec.sources[].lease.renewAt says when', async (t) => {
  const bench = new NodeBench(withDatabase({ lease: { renewAt: 10, revokeOnUnmount: undefined } }))
  await bench.publish()
  await bench.clock.advance(3.1 * MINUTE)
  t.equal(bench.issuer.count('renew'), 1)
})

t.test('when it can be renewed no more the new pair is in the files before the old one ends', async (t) => {
  const bench = new NodeBench(withDatabase())
  await bench.publish()
  bench.issuer.renewalsLeft = 0
  const seenAtRevocation: string[] = []
  const revoke = bench.issuer.revoke.bind(bench.issuer)
  bench.issuer.revoke = async (lease, signal) => {
    seenAtRevocation.push(pair(bench))
    return await revoke(lease, signal)
  }
  await bench.clock.advance(20 * MINUTE)
  t.equal(pair(bench), `${CREDS}-2,${CREDS}-2`)
  t.ok(bench.issuer.tokensAlive.has('own-1'), 'the old pair is good for a while, until all have noticed')
  await bench.clock.advance(0.5 * MINUTE)
  t.same(seenAtRevocation, [`${CREDS}-2,${CREDS}-2`])
  t.same(bench.issuer.revoked, ['own-1'])
  t.same([...bench.issuer.leasesAlive.values()], ['own-2'])
  t.same(bench.notifier.events, ['backend rotated db-user,db-pass'])
})

t.test('each volume has a lease of its own, which is revoked when it goes', async (t) => {
  const bench = new NodeBench(withDatabase())
  await bench.publish({ volumeId: 'one' })
  await bench.publish({ volumeId: 'two' })
  t.not(pair(bench, 'one'), pair(bench, 'two'))
  await bench.unpublish('one')
  t.same(bench.issuer.revoked, ['own-1'])
  t.equal(bench.issuer.leasesAlive.size, 1)
  t.equal(bench.ledger.entries.size, 1)
  await bench.unpublish('two')
  t.equal(bench.issuer.tokensAlive.size, 0)
})

t.test('revokeOnUnmount: false lets the lease end', async (t) => {
  const bench = new NodeBench(withDatabase({ lease: { renewAt: undefined, revokeOnUnmount: false } }))
  await bench.publish()
  await bench.unpublish()
  t.same(bench.issuer.revoked, [])
})

t.test('a failed first publish leaves nothing issued', async (t) => {
  for (const fail of [
    (bench: NodeBench) => bench.imports.put(importSpec({ files: [...files('no-such-key')] })),
    (bench: NodeBench) => {
      bench.node.failWriteWith = new FaultError('volume_io')
    },
    (bench: NodeBench) => bench.issuer.failPath.set('pki/issue/web', new FaultError('read_denied')),
  ]) {
    const bench = new NodeBench({ files: files('username') })
    fail(bench)
    await t.rejects(bench.publish())
    await bench.clock.advance(MINUTE)
    t.equal(bench.issuer.tokensAlive.size, 0)
    t.equal(bench.node.mounts.size, 0)
    t.equal(bench.ledger.entries.size, 0)
  }

  function files(key: string) {
    const web = call({ name: 'web', path: 'pki/issue/web', method: 'PUT' })
    return [
      fileSpec({ name: 'db-user', key, call: call() }),
      fileSpec({ name: 'cert', key: 'username', call: web }),
    ]
  }
})

t.test('while Vault is away at an unmount, it is tried again until the lease is gone', async (t) => {
  const bench = new NodeBench(withDatabase())
  await bench.publish()
  bench.issuer.failWith.revoke = away()
  await bench.unpublish()
  t.equal(bench.node.mounts.size, 0, 'kubelet does not wait for it')
  await bench.clock.advance(MINUTE)
  t.equal(bench.issuer.tokensAlive.size, 1)
  delete bench.issuer.failWith.revoke
  await bench.clock.advance(6 * MINUTE)
  t.equal(bench.issuer.tokensAlive.size, 0)
})

t.test(
  'Vault away when a lease is due: files stay, one event is sent, and nothing is issued again',
  async (t) => {
    const bench = new NodeBench(withDatabase())
    await bench.publish()
    await bench.clock.advance(19 * MINUTE)
    bench.issuer.failWith.renew = away()
    await bench.clock.advance(4 * MINUTE)
    t.same(bench.notifier.events, ['backend failed unreachable'])
    t.ok(bench.issuer.count('renew') > 2, 'tried again before the lease ends')
    delete bench.issuer.failWith.renew
    await bench.clock.advance(3 * MINUTE)
    t.same(bench.notifier.events, ['backend failed unreachable', 'backend recovered'])
    t.equal(bench.issuer.count('issue'), 1)
    t.equal(pair(bench), `${CREDS}-1,${CREDS}-1`)
  },
)

t.test('failing reads do not let leases end', async (t) => {
  const bench = new NodeBench(withDatabase())
  await bench.publish()
  bench.store.failWith = new FaultError('read_denied')
  await bench.clock.advance(120 * MINUTE)
  t.ok(bench.issuer.count('renew') >= 5, `${bench.issuer.count('renew')} renewals`)
  t.equal(bench.issuer.count('issue'), 1)
  t.equal(pair(bench), `${CREDS}-1,${CREDS}-1`)
})

t.test('a changed KV secret is rendered with the same leases', async (t) => {
  const bench = new NodeBench(withDatabase())
  await bench.publish()
  bench.setPassword('two')
  await bench.clock.advance(3 * MINUTE)
  t.equal(bench.content(), 'two')
  t.equal(pair(bench), `${CREDS}-1,${CREDS}-1`)
  t.equal(bench.issuer.count('issue'), 1)
})

t.test('an edited call is issued again, the lease of a removed one is revoked', async (t) => {
  const bench = new NodeBench(withDatabase({ method: 'PUT', data: { ttl: '1h' } }))
  await bench.publish()
  bench.imports.put(importSpec(withDatabase({ method: 'PUT', data: { ttl: '2h' } })))
  await bench.clock.advance(1_000)
  t.equal(pair(bench), `${CREDS}-2,${CREDS}-2`)
  await bench.clock.advance(MINUTE)
  t.same(bench.issuer.revoked, ['own-1'])
  bench.imports.put(importSpec())
  await bench.clock.advance(MINUTE)
  t.same(bench.issuer.revoked, ['own-1', 'own-2'])
  t.equal(bench.content('volume-1', 'db-user'), undefined)
  await bench.clock.advance(60 * MINUTE)
  t.equal(bench.issuer.count('renew'), 0)
})

t.test('calls that differ only in their data never share an answer', async (t) => {
  const web = (name: string, common_name: string) =>
    call({ name, path: 'pki/issue/web', method: 'PUT', data: { common_name } })
  const bench = new NodeBench({
    files: [
      fileSpec({ name: 'a', key: 'username', call: web('a', 'a.example.org') }),
      fileSpec({ name: 'b', key: 'username', call: web('b', 'b.example.org') }),
    ],
  })
  await bench.publish()
  t.not(bench.content('volume-1', 'a'), bench.content('volume-1', 'b'))
  t.equal(bench.issuer.count('issue'), 2)
})

t.test('a certificate is issued again when it nears its end, and never before', async (t) => {
  const web = call({ name: 'web', path: 'pki/issue/web', method: 'PUT', lease: undefined })
  const bench = new NodeBench({ files: [fileSpec({ name: 'crt', key: 'username', call: web })] })
  bench.issuer.lease = undefined
  bench.issuer.endsAfterMs = 90 * 24 * 60 * MINUTE
  await bench.publish()
  t.equal(bench.issuer.tokensAlive.size, 0, 'nothing hangs on the token that asked')
  await bench.clock.advance(59 * 24 * 60 * MINUTE)
  t.equal(bench.issuer.count('issue'), 1)
  await bench.clock.advance(24 * 60 * MINUTE)
  t.equal(bench.issuer.count('issue'), 2)
  t.equal(bench.content('volume-1', 'crt'), 'pki/issue/web-2')
})

t.test('a path that turns out to give a lease is issued to each volume', async (t) => {
  const bench = new NodeBench({ files: [fileSpec({ name: 'db-user', path: CREDS, key: 'username' })] })
  bench.store.data.set(CREDS, { username: 'of all' })
  bench.store.leases.set(CREDS, { id: 'of-all', leasedAt: 0, durationMs: MINUTE, renewable: true })
  await bench.publish({ volumeId: 'one' })
  await bench.publish({ volumeId: 'two' })
  t.equal(bench.content('one', 'db-user'), `${CREDS}-1`)
  t.equal(bench.content('two', 'db-user'), `${CREDS}-2`)
  t.equal(bench.store.reads.length, 1)
  t.equal(bench.store.discarded.length, 1, 'the token under which the first lease was given is gone')
  await bench.clock.advance(10 * MINUTE)
  t.equal(bench.store.reads.length, 1, 'it is not read by the clock')
})

t.test('a wrapped secret ID is replaced in time, and the old one revoked while it can be', async (t) => {
  const credential = { format: 'WrappedSecretID', name: 'wrapped', mode: undefined } as const
  const bench = new NodeBench(
    { credentials: [{ ...credential, role: 'app', authPath: 'approle' }] },
    { allowTokenExport: true },
  )
  bench.issuer.endsAfterMs = MINUTE
  await bench.publish()
  const held = () => JSON.parse(bench.content('volume-1', 'wrapped') ?? '').wrappedSecretId
  t.equal(held(), 'wrapped-1')
  await bench.clock.advance(40_000)
  t.equal(held(), 'wrapped-2')
  t.same(bench.issuer.revoked, [])
  await bench.clock.advance(16_000)
  t.same(bench.issuer.revoked, ['own-1'])
})

t.test('nothing to issue is an answer: an optional file is left out until there is', async (t) => {
  const web = call({ name: 'web', path: 'pki/issue/web', method: 'PUT' })
  const files = (optional: boolean) => [
    fileSpec({ name: 'db-user', key: 'username', call: call() }),
    fileSpec({ name: 'cert', key: 'username', call: web, optional }),
  ]
  const bench = new NodeBench({ files: files(true) })
  const absent = new FaultError('path_not_found', { path: 'pki/issue/web' })
  bench.issuer.failPath.set('pki/issue/web', absent)
  await bench.publish()
  t.equal(bench.content('volume-1', 'db-user'), `${CREDS}-1`)
  t.equal(bench.content('volume-1', 'cert'), undefined)
  t.equal(bench.issuer.tokensAlive.size, 1)
  bench.issuer.failPath.clear()
  await bench.clock.advance(3 * MINUTE)
  t.equal(bench.content('volume-1', 'cert'), 'pki/issue/web-2')
  t.equal(bench.content('volume-1', 'db-user'), `${CREDS}-1`)

  const strict = new NodeBench({ files: files(false) })
  strict.issuer.failPath.set('pki/issue/web', absent)
  await t.rejects(strict.publish(), faulty('path_not_found'))
  t.equal(strict.issuer.tokensAlive.size, 0)
})
