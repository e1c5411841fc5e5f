import t from 'tap'
import { FaultError } from '../../src/core/faults/fault.ts'
import { ledgerEntry, Volume } from '../../src/node/volume.ts'
import { NodeBench } from '../harness/node-bench.ts'

const request = new NodeBench().request()
const entry = ledgerEntry(request, { updateMode: 'Live', sizeBytes: 1, phase: 'complete' })

t.test('a ledger entry holds no token', async (t) => {
  t.notMatch(JSON.stringify(entry), /token|jwt/)
})

t.test('a volume found at start awaits its tokens, also if they are none', async (t) => {
  const volume = Volume.resumed(entry, 0, [])
  t.same(volume.tokens, { state: 'awaited' })
  t.equal(volume.tokensByAudience.size, 0)
  t.equal(volume.receiveTokens(new Map()), true)
  t.match(volume.tokens, { state: 'received' })
})

t.test('new tokens are news to a volume that could not refresh without them, and to no other', async (t) => {
  const volume = Volume.publishing(entry, 0, request.tokens)
  volume.markInSync(5)
  t.equal(volume.receiveTokens(request.tokens), false)
  volume.markStale(new FaultError('unreachable'), 10)
  t.equal(volume.receiveTokens(request.tokens), false)
  volume.markStale(new FaultError('token_missing'), 15)
  t.equal(volume.receiveTokens(request.tokens), true)
})

t.test('a stale volume remembers when that began', async (t) => {
  const volume = Volume.publishing(entry, 0, request.tokens)
  volume.markInSync(5)
  t.equal(volume.markStale(new FaultError('unreachable'), 10), 1)
  t.equal(volume.markStale(new FaultError('sealed'), 20), 2)
  t.match(volume.state, { state: 'stale', since: 10, failures: 2 })
  t.equal(volume.lastSyncedAt, 5)
  volume.markInSync(30)
  t.same(volume.state, { state: 'inSync' })
  t.equal(volume.lastSyncedAt, 30)
})

t.test('a volume that is gone stays gone, and its timer with it', async (t) => {
  const volume = Volume.publishing(entry, 0, request.tokens)
  let isCancelled = false
  volume.timer.set(
    () => () => {
      isCancelled = true
    },
    () => t.fail('the timer ran'),
  )
  volume.markGone()
  t.ok(isCancelled)
  t.notOk(volume.timer.isSet)
  volume.markInSync(5)
  volume.markStale(new FaultError('unreachable'), 10)
  t.ok(volume.isGone)
  t.equal(volume.lastSyncedAt, 0)
})
