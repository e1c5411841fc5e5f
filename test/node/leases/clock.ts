import t from 'tap'
import { sourceCall } from '../../../src/core/imports/calls.ts'
import type { ImportSpec } from '../../../src/core/imports/import.ts'
import type { Config } from '../../../src/core/settings/config.ts'
import { fileSpec } from '../../fakes/imports.ts'
import { MINUTE, NodeBench } from '../../harness/node-bench.ts'

/** Leases, when the wall clock jumps or another process goes on with them under other settings. */
const CREDS = 'database/creds/app'
const DAY = 24 * 60 * MINUTE

function withDatabase(): Partial<ImportSpec> {
  const lease = { renewAt: undefined, revokeOnUnmount: undefined }
  const call = sourceCall({
    ...{ name: 'db', path: CREDS, method: 'GET' },
    ...{ version: undefined, data: undefined, lease },
  })
  return { files: [fileSpec(), fileSpec({ name: 'db-user', key: 'username', call })] }
}

/** Somebody sets the wall clock; timers go on as they are. */
function setClock(bench: NodeBench, byMs: number): void {
  const now = bench.clock.now.bind(bench.clock)
  bench.clock.now = () => now() + byMs
}

for (const byMs of [-365 * DAY, -MINUTE, MINUTE, 365 * DAY]) {
  t.test(`a clock set by ${byMs / MINUTE} minutes: renewed in time, and never issued again`, async (t) => {
    const bench = new NodeBench(withDatabase())
    await bench.publish()
    await bench.clock.advance(10 * MINUTE)
    setClock(bench, byMs)
    await bench.clock.advance(180 * MINUTE)
    t.equal(bench.issuer.count('issue'), 1)
    const renewals = bench.issuer.count('renew')
    t.ok(renewals >= 8 && renewals <= 12, `${renewals} renewals`)
  })

  t.test(
    `a clock set by ${byMs / MINUTE} minutes: a replaced lease is revoked after its notice`,
    async (t) => {
      const bench = new NodeBench(withDatabase())
      await bench.publish()
      bench.issuer.renewalsLeft = 0
      await bench.clock.advance(20 * MINUTE)
      bench.issuer.renewalsLeft = 1_000
      setClock(bench, byMs)
      await bench.clock.advance(5 * MINUTE)
      t.same(bench.issuer.revoked, ['own-1'])
    },
  )
}

t.test(
  'a lease that the cluster admin has forbidden since is not renewed for ever by the next process',
  async (t) => {
    const settings: Partial<Config> = { allowTokenExport: true }
    const token = { format: 'Token', name: 'token', mode: undefined, role: 'r', authPath: 'approle' } as const
    const bench = new NodeBench({ credentials: [token] }, settings)
    await bench.publish()
    Object.assign(settings, { allowTokenExport: false })
    await bench.restart()
    await bench.publish()
    await bench.clock.advance(180 * MINUTE)
    t.equal(bench.issuer.count('renew'), 0)
    t.equal(bench.content('volume-1', 'token'), 'own-1', 'files are never taken away')
  },
)

t.test('fifty pods that find out at once that a path is leased get one each', async (t) => {
  const bench = new NodeBench({ files: [fileSpec({ name: 'db-user', path: CREDS, key: 'username' })] })
  bench.store.data.set(CREDS, { username: 'of all' })
  bench.store.leases.set(CREDS, { id: 'of-all', leasedAt: 0, durationMs: MINUTE, renewable: true })
  const ids = Array.from({ length: 50 }, (_, index) => `v${index}`)
  await Promise.all(ids.map((volumeId) => bench.publish({ volumeId })))
  t.equal(new Set(ids.map((id) => bench.content(id, 'db-user'))).size, 50)
  t.equal(bench.issuer.count('issue'), 50)
  t.equal(bench.store.discarded.length, 1)
})
