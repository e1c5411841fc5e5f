import t from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import { MINUTE, NodeBench } from '../harness/node-bench.ts'

const appRole = {
  authMethod: 'approle' as const,
  appRole: { roleId: 'role-id', secretIdRef: { name: 'app-role', key: 'secret-id' } },
}

t.test('the secret ID of an AppRole is read for a login, and not otherwise', async (t) => {
  const bench = new NodeBench(appRole)
  await bench.publish({ tokens: new Map() })
  t.equal(bench.content(), 'one')
  t.same(bench.secretIdsRead, ['app-role'])
  t.same(bench.store.tokensUsed.at(-1), ['secret-id'])
})

t.test('a secret ID that cannot be read refuses the publish and says which', async (t) => {
  const bench = new NodeBench(appRole)
  bench.failSecretIdWith = new FaultError('reference_missing', {
    reason: 'Secret "my-namespace1/app-role" does not exist',
  })
  await t.rejects(bench.publish(), { fault: 'reference_missing', message: /app-role/ })
  t.equal(bench.node.mounts.size, 0)
})

t.test('a pod whose service-account token is good asks the API server for nothing', async (t) => {
  const bench = new NodeBench()
  await bench.publish()
  await bench.clock.advance(10 * MINUTE)
  t.same(bench.secretIdsRead, [])
  t.same(bench.requested, [])
})

t.test('after a restart an AppRole needs no token of kubelet: its volumes refresh', async (t) => {
  const bench = new NodeBench(appRole)
  const tokens = new Map()
  await bench.publish({ tokens })
  await bench.restart()
  await bench.publish({ tokens })
  bench.setPassword('two')
  await bench.clock.advance(3 * MINUTE)
  t.equal(bench.content(), 'two')
  t.equal(bench.service.volumes.countByState().inSync, 1)
})
