import t from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import { sourceCall } from '../../src/core/imports/calls.ts'
import type { ImportSpec } from '../../src/core/imports/import.ts'
import { fileSpec, importSpec } from '../fakes/imports.ts'
import { faulty } from '../harness/faulty.ts'
import { MINUTE, NodeBench } from '../harness/node-bench.ts'

/** Unpublish works whatever else does not, and a failed publish leaves nothing behind. */
const CREDS = 'database/creds/app'
const never = () => new Promise<never>(() => {})

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: it cannot be done`), { code, syscall: 'open' })
}

function withLease(): Partial<ImportSpec> {
  const lease = { renewAt: undefined, revokeOnUnmount: undefined }
  const none = { version: undefined, data: undefined, lease }
  const call = sourceCall({ name: 'db', path: CREDS, method: 'GET', ...none })
  return { files: [fileSpec(), fileSpec({ name: 'user', key: 'username', call })] }
}

const troubles: Record<string, (bench: NodeBench) => void> = {
  'a state directory that cannot be used': (bench) => {
    bench.ledger.remove = () => {
      throw new FaultError('internal', { reason: 'the ledger cannot be used (EROFS)' })
    }
    bench.ledger.put = bench.ledger.remove as never
  },
  'no descriptors': (bench) => {
    bench.node.mounter.isMounted = () => {
      throw systemError('EMFILE')
    }
    bench.node.files.wipe = () => {
      throw systemError('EMFILE')
    }
  },
  'files that cannot be deleted': (bench) => {
    bench.node.files.wipe = () => {
      throw systemError('ENOSPC')
    }
  },
  'Vault hanging': (bench) => {
    bench.store.release = never
    bench.store.read = never
    bench.issuer.revoke = never
  },
  'Vault away': (bench) => {
    bench.store.failWith = new FaultError('unreachable')
    bench.issuer.failWith.revoke = new FaultError('unreachable')
  },
  'Vault refusing': (bench) => {
    bench.issuer.failWith.revoke = new FaultError('read_denied')
  },
  'the API server away': (bench) => {
    bench.imports.get = never
    bench.failSyncWith = new FaultError('sync_unavailable')
  },
  'attributes that cannot be written': (bench) => {
    bench.leaseStore.isRefused = true
  },
}

for (const [what, cause] of Object.entries(troubles)) {
  t.test(`${what}: the volume goes, within some seconds`, async (t) => {
    const bench = new NodeBench(withLease())
    await bench.publish()
    cause(bench)
    await bench.clock.advance(5 * MINUTE)
    let isDone = false
    const unpublished = bench.unpublish().then(() => {
      isDone = true
    })
    await bench.clock.advance(7_000)
    t.ok(isDone, 'kubelet has its answer')
    await unpublished
    t.equal(bench.node.mounts.size, 0)
    t.equal(bench.service.budget.reservedBytes(), 0)
    t.same(bench.service.volumes.countByState(), { inSync: 0, stale: 0, resumed: 0 })
    t.equal(bench.meter.count('unpublished ok'), 1)
  })

  t.test(`${what}: an unknown volume goes`, async (t) => {
    const bench = new NodeBench()
    bench.node.mounter.mount('/pods/volume-1/mount', { sizeBytes: 1, gid: undefined })
    cause(bench)
    await bench.unpublish()
    t.equal(bench.node.mounts.size, 0)
  })
}

t.test('a mount that cannot be taken off fails the call, and the next one takes it off', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  const { unmount } = bench.node.mounter
  bench.node.mounter.unmount = () => {
    throw new FaultError('mount_failed')
  }
  await t.rejects(bench.unpublish(), faulty('mount_failed'))
  t.not(bench.service.budget.reservedBytes(), 0, 'it is still there')
  bench.node.mounter.unmount = unmount
  await bench.unpublish()
  t.equal(bench.node.mounts.size, 0)
  t.equal(bench.service.budget.reservedBytes(), 0)
})

t.test('a publish that hangs is ended by the unpublish of its volume', async (t) => {
  for (const hang of [
    (bench: NodeBench) => {
      bench.store.read = never
    },
    (bench: NodeBench) => {
      bench.imports.get = never
    },
    (bench: NodeBench) => {
      bench.issuer.held = never()
    },
  ]) {
    const bench = new NodeBench(withLease())
    hang(bench)
    const published = bench.publish().catch((error: unknown) => error)
    await bench.clock.advance(1_000)
    const unpublished = bench.unpublish()
    await bench.clock.advance(7_000)
    await unpublished
    t.match(await published, faulty('deadline', /it is being unpublished/))
    t.equal(bench.node.mounts.size, 0)
    t.equal(bench.store.users.size, 0)
    t.equal(bench.service.budget.reservedBytes(), 0)
  }
})

t.test('leases issued for an aborted publish are revoked', async (t) => {
  const bench = new NodeBench(withLease())
  const { promise, resolve } = Promise.withResolvers<void>()
  const issue = bench.issuer.issue.bind(bench.issuer)
  bench.issuer.issue = async (identity, token, request) => {
    await promise
    return issue(identity, token, request, bench.signal)
  }
  const published = bench.publish().catch(() => undefined)
  await bench.clock.advance(1_000)
  const unpublished = bench.unpublish()
  await bench.clock.advance(7_000)
  await Promise.all([published, unpublished])
  resolve()
  await bench.clock.advance(10_000)
  t.equal(bench.issuer.count('issue'), 1)
  t.equal(bench.issuer.tokensAlive.size, 0)
})

t.test('a first publish that fails cleans up each part, whatever fails in that', async (t) => {
  const failing: Record<string, (bench: NodeBench) => void> = {
    wipe: (bench) => {
      bench.node.files.wipe = () => {
        throw systemError('EMFILE')
      }
    },
    ledger: (bench) => {
      bench.ledger.remove = () => {
        throw new FaultError('internal')
      }
    },
    revocation: (bench) => {
      bench.issuer.revoke = never
      bench.store.release = never
    },
  }
  for (const [part, breakIt] of Object.entries(failing)) {
    const bench = new NodeBench(withLease())
    bench.node.failWriteWith = new FaultError('volume_io')
    breakIt(bench)
    const published = bench.publish().catch((error: unknown) => error)
    await bench.clock.advance(10_000)
    t.match(await published, faulty('volume_io'), `${part}: the cause is reported, not its consequences`)
    t.equal(bench.node.mounts.size, 0, `${part}: nothing mounted`)
    t.equal(bench.service.budget.reservedBytes(), 0, `${part}: nothing reserved`)
    if (part !== 'revocation') t.equal(bench.issuer.tokensAlive.size, 0, `${part}: nothing issued`)
  }
})

t.test('half a set of files whose mount could not be removed is never taken for a whole one', async (t) => {
  const bench = new NodeBench({ updateMode: 'InPlace', files: [fileSpec(), fileSpec({ name: 'second' })] })
  const { apply } = bench.node.files
  const { unmount } = bench.node.mounter
  bench.node.files.apply = async (targetPath, shape, files) => {
    await apply(targetPath, shape, files.slice(0, 1))
    throw systemError('EMFILE')
  }
  bench.node.files.wipe = () => {
    throw systemError('EMFILE')
  }
  bench.node.mounter.unmount = () => {
    throw new FaultError('mount_failed', { reason: 'EMFILE' })
  }
  await t.rejects(bench.publish())
  t.equal(bench.content(), 'one', 'half of it stands there')
  t.not(bench.service.budget.reservedBytes(), 0, 'and counts')
  bench.node.files.apply = apply
  bench.node.mounter.unmount = unmount
  await bench.publish()
  t.equal(bench.content('volume-1', 'second'), 'one')
  t.equal([...bench.ledger.entries.values()][0]?.phase, 'complete')
})

t.test('an import is followed for as long as a volume uses it', async (t) => {
  const bench = new NodeBench()
  bench.imports.put(importSpec({ name: 'bad', files: [fileSpec({ key: 'no-such' })] }))
  await bench.publish()
  await bench.publish({ volumeId: 'volume-2' })
  await t.rejects(bench.publish({ volumeId: 'volume-3', importName: 'bad' }), faulty('key_missing'))
  await t.rejects(bench.publish({ volumeId: 'volume-4', importName: 'none' }), faulty('import_not_found'))
  t.same([...bench.imports.followed], ['my-namespace1/python-backend'])
  await bench.unpublish('volume-1')
  t.same([...bench.imports.followed], ['my-namespace1/python-backend'])
  await bench.restart()
  await bench.unpublish('volume-2')
  t.same([...bench.imports.followed], [])
})

t.test('a refresh that outlives its volume stops watching the import', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  const { promise, resolve } = Promise.withResolvers<void>()
  const get = bench.imports.get.bind(bench.imports)
  bench.imports.get = async (namespace, name) => {
    await promise
    return get(namespace, name)
  }
  await bench.clock.advance(3 * MINUTE)
  await bench.unpublish()
  resolve()
  await bench.clock.advance(1_000)
  t.same([...bench.imports.followed], [])
})
