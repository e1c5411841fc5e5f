import t from 'tap'
import { FaultError } from '../../../src/core/faults/fault.ts'
import { sourceCall } from '../../../src/core/imports/calls.ts'
import type { ImportSpec } from '../../../src/core/imports/import.ts'
import { fileSpec } from '../../fakes/imports.ts'
import { MINUTE, NodeBench } from '../../harness/node-bench.ts'

/** Whatever fails or is killed: no lease is left behind. */
const CREDS = 'database/creds/app'
const OTHER = 'database/creds/other'

function leased(name: string, path: string, revokeOnUnmount?: boolean) {
  const lease = { renewAt: undefined, revokeOnUnmount }
  return sourceCall({ name, path, method: 'GET', version: undefined, data: undefined, lease })
}

function withTwo(): Partial<ImportSpec> {
  return {
    files: [
      fileSpec({ name: 'db-user', key: 'username', call: leased('db', CREDS) }),
      fileSpec({ name: 'other-user', key: 'username', call: leased('other', OTHER) }),
    ],
  }
}

t.test('killed while the second of two is issued: the first one is known to the next process', async (t) => {
  const bench = new NodeBench(withTwo())
  await bench.publish()
  bench.issuer.renewalsLeft = 0
  const logIn = bench.issuer.logIn.bind(bench.issuer)
  const issue = bench.issuer.issue.bind(bench.issuer)
  let logins = 0
  bench.issuer.logIn = async (...args) => {
    logins += 1
    // The second login takes longer than the whole issue of the first.
    if (logins === 2) await bench.clock.sleep(2_000)
    return logIn(...args)
  }
  bench.issuer.issue = (identity, token, request, signal) =>
    token.token.reveal() === 'own-4' ? new Promise(() => {}) : issue(identity, token, request, signal)
  await bench.clock.advance(20 * MINUTE)
  t.same([...bench.issuer.tokensAlive], ['own-1', 'own-2', 'own-3', 'own-4'])
  bench.issuer.logIn = logIn
  bench.issuer.issue = issue
  await bench.kill()
  await bench.publish()
  await bench.clock.advance(2 * MINUTE)
  t.same([...bench.issuer.tokensAlive], ['own-5', 'own-6'])
})

t.test('a ledger that cannot be written leaves no token behind', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  const put = bench.ledger.put.bind(bench.ledger)
  bench.ledger.put = () => {
    throw new FaultError('internal', { reason: 'no space left' })
  }
  bench.imports.put({ ...bench.imports.stored('my-namespace1', 'python-backend'), ...withTwo() })
  await bench.clock.advance(60 * MINUTE)
  t.ok(bench.issuer.count('issue') >= 2, `${bench.issuer.count('issue')} issues`)
  t.equal(bench.issuer.tokensAlive.size, 2)
  bench.ledger.put = put
  await bench.unpublish()
  t.equal(bench.issuer.tokensAlive.size, 0)
})

t.test('a lease that could not be revoked after a failed issue is known to the next process', async (t) => {
  const bench = new NodeBench(withTwo())
  await bench.publish()
  bench.issuer.renewalsLeft = 0
  bench.issuer.failPath.set(OTHER, new FaultError('read_denied'))
  bench.issuer.failWith.revoke = new FaultError('unreachable')
  await bench.clock.advance(20 * MINUTE)
  t.ok(bench.issuer.tokensAlive.size > 2)
  delete bench.issuer.failWith.revoke
  bench.issuer.failPath.clear()
  await bench.kill()
  await bench.publish()
  await bench.clock.advance(2 * MINUTE)
  t.equal(bench.issuer.tokensAlive.size, 2)
  t.equal(bench.service.volumes.countLeases().revoking, 0)
})

t.test('too much for the lease store: revocable leases are saved, the rest is issued again', async (t) => {
  const web = sourceCall({
    ...{ name: 'web', path: 'pki/issue/web', method: 'PUT' },
    ...{ version: undefined, data: { note: 'x'.repeat(70_000) }, lease: undefined },
  })
  const bench = new NodeBench({
    files: [
      fileSpec({ name: 'db-user', key: 'username', call: leased('db', CREDS) }),
      fileSpec({ name: 'crt', key: 'username', call: web }),
    ],
  })
  const issue = bench.issuer.issue.bind(bench.issuer)
  bench.issuer.issue = async (identity, token, request, signal) => {
    const issued = await issue(identity, token, request, signal)
    const isWeb = request.kind === 'call' && request.call === web
    return isWeb ? { ...issued, vaultLease: undefined, needsToken: false } : issued
  }
  await bench.publish()
  const before = bench.content('volume-1', 'db-user')
  await bench.kill()
  await bench.publish()
  await bench.clock.advance(MINUTE)
  t.equal(bench.content('volume-1', 'db-user'), before)
  t.equal(bench.issuer.count('issue pki/issue/web'), 2)
  t.equal(bench.issuer.tokensAlive.size, 1)
})

t.test(
  'the leases of a first publish killed half way are revoked, also those that an unmount would leave',
  async (t) => {
    const bench = new NodeBench({
      files: [fileSpec({ name: 'db-user', key: 'username', call: leased('db', CREDS, false) })],
    })
    await bench.publish()
    bench.ledger.put({ ...bench.ledger.load()[0]!, phase: 'mounting' })
    await bench.kill()
    await bench.clock.advance(1_000)
    t.equal(bench.issuer.tokensAlive.size, 0)
  },
)

t.test(
  'a first publish that fails revokes before the mount goes: a kill in between finds the leases',
  async (t) => {
    const bench = new NodeBench(withTwo())
    bench.node.failWriteWith = new FaultError('volume_full')
    const mountsAtRevocation: number[] = []
    const revoke = bench.issuer.revoke.bind(bench.issuer)
    bench.issuer.revoke = (lease, signal) => {
      mountsAtRevocation.push(bench.node.mounts.size)
      return revoke(lease, signal)
    }
    await t.rejects(bench.publish())
    t.same(mountsAtRevocation, [1, 1])
    t.equal(bench.issuer.tokensAlive.size, 0)
    t.equal(bench.node.mounts.size, 0)
  },
)

t.test(
  'unpublished and published again while a call is under way: the new volume keeps its leases',
  async (t) => {
    const bench = new NodeBench(withTwo())
    await bench.publish()
    bench.issuer.renewalsLeft = 0
    const logIn = bench.issuer.logIn.bind(bench.issuer)
    let release = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    bench.issuer.logIn = async (...args) => {
      await held
      return logIn(...args)
    }
    await bench.clock.advance(20 * MINUTE)
    bench.issuer.logIn = logIn
    bench.issuer.renewalsLeft = 1_000
    await bench.unpublish()
    await bench.publish()
    const sealed = Buffer.from(bench.leaseStore.sealed.get('/pods/volume-1/mount')!)
    release()
    await bench.clock.advance(1_000)
    t.same(bench.leaseStore.sealed.get('/pods/volume-1/mount'), sealed, 'the old refresh saves nothing')
    t.same(bench.issuer.leasesAlive.size, 2)
    await bench.kill()
    await bench.unpublish()
    t.equal(bench.issuer.tokensAlive.size, 0)
  },
)

t.test('while a volume waits for a token, renewals that fail are not tried every second', async (t) => {
  for (const fail of [
    (bench: NodeBench) => {
      bench.issuer.failWith.renew = new FaultError('sealed')
    },
    (bench: NodeBench) => {
      bench.issuer.renewalsLeft = 0
    },
  ]) {
    const bench = new NodeBench(withTwo())
    await bench.publish()
    await bench.kill()
    fail(bench)
    await bench.clock.advance(60 * MINUTE)
    const tries = bench.issuer.count(`renew ${CREDS}`)
    t.ok(tries >= 4 && tries <= 80, `${tries} in an hour`)
  }
})

t.test('an import edited during a refresh is fetched right after', async (t) => {
  const bench = new NodeBench(withTwo())
  await bench.publish()
  bench.issuer.renewalsLeft = 0
  let release = () => {}
  bench.issuer.held = new Promise<void>((resolve) => {
    release = resolve
  })
  await bench.clock.advance(20 * MINUTE)
  bench.imports.put({ ...bench.imports.stored('my-namespace1', 'python-backend'), files: [fileSpec()] })
  release()
  await bench.clock.advance(1_000)
  t.equal(bench.content(), 'one')
})

t.test(
  'files that cannot be repaired after a restart: the leases go with the pod all the same',
  async (t) => {
    for (const step of ['unpublish', 'publish'] as const) {
      const bench = new NodeBench(withTwo())
      await bench.publish()
      const { repair } = bench.node.files
      bench.node.files.repair = async () => {
        throw new FaultError('volume_io')
      }
      await bench.kill()
      await bench[step]()
      bench.node.files.repair = repair
      await bench.clock.advance(120 * MINUTE)
      const isPublished = step === 'publish'
      t.equal(bench.issuer.tokensAlive.size, isPublished ? 2 : 0, `after a ${step}`)
      t.equal(bench.issuer.count('issue'), 2)
    }
  },
)
