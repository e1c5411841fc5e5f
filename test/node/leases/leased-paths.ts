import t from 'tap'
import { fileSpec, importSpec } from '../../fakes/imports.ts'
import { MINUTE, NodeBench, PATH } from '../../harness/node-bench.ts'

function pod(namespace: string) {
  return { name: 'backend', namespace, uid: 'uid', serviceAccount: 'backend-sa' }
}

t.test(
  'an import of a namespace that leases many paths does not make another namespace forget its paths',
  async (t) => {
    const made = new NodeBench({
      files: [fileSpec({ name: 'user', path: 'database/creds/app', key: 'password' })],
    })
    const lease = { leasedAt: 0, durationMs: MINUTE, renewable: true }
    made.store.data.set('database/creds/app', { password: 'of all' })
    made.store.leases.set('database/creds/app', { id: 'first', ...lease })
    await made.publish()
    for (let round = 0; round < 10; round++) {
      const files = Array.from({ length: 100 }, (_, n) =>
        fileSpec({ name: `f${n}`, path: `db/creds/${round}-${n}` }),
      )
      for (let n = 0; n < 100; n++) {
        made.store.data.set(`db/creds/${round}-${n}`, { password: 'x' })
        made.store.leases.set(`db/creds/${round}-${n}`, { id: `${round}-${n}`, ...lease })
      }
      made.imports.put(importSpec({ namespace: 'attacker', name: `import-${round}`, files }))
      await made.publish({ volumeId: `a-${round}`, importName: `import-${round}`, pod: pod('attacker') })
    }
    const before = made.store.reads.length
    await made.publish({ volumeId: 'mine' })
    t.equal(made.store.reads.length, before, 'known to be leased, it is not read')
    t.equal(made.store.reads.filter((path) => path === PATH).length, 0)
  },
)
