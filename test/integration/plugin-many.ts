import t from 'tap'
import type { PodVolume } from '../harness/kubelet/pod-volume.ts'
import { startRealNode } from '../harness/plugin/real-node.ts'

const VOLUMES = 200
const CONCURRENCY = 16
const node = await startRealNode(t, { args: ['--vault-qps=1000', '--rotation-interval=1h'] })
const { vault } = node

await vault.put('app', { password: 'correct horse', user: 'app' })
const files = ['password', 'user'].map((key) => ({ name: key, source: { path: 'secret/data/app', key } }))
await node.writeImport('app', { role: 'app', files })

/** Runs `task` for 0 to `count` - 1, some at a time. */
async function side<T>(count: number, task: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = []
  let next = 0
  const lane = async () => {
    while (next < count) {
      const index = next++
      results[index] = await task(index)
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, lane))
  return results
}

/** Asks for the health of the plugin all the time; the longest answer, in milliseconds. */
function measureHealth(): () => Promise<number> {
  let longest = 0
  let isDone = false
  const asking = (async () => {
    while (!isDone) {
      const startedAt = performance.now()
      const answer = await node.http('/healthz')
      longest = Math.max(longest, answer.ok ? performance.now() - startedAt : Number.POSITIVE_INFINITY)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  })()
  return async () => {
    isDone = true
    await asking
    return longest
  }
}

t.test(`${VOLUMES} publishes, ${CONCURRENCY} at a time, and their end`, { timeout: 60_000 }, async (t) => {
  const health = measureHealth()
  const startedAt = performance.now()
  // Every second pod has a service account of its own, the others share one.
  const volumes = await side(VOLUMES, (index) =>
    node.publish({ importName: 'app', serviceAccount: index % 2 === 0 ? `sa-${index}` : 'shared' }),
  )
  const seconds = (performance.now() - startedAt) / 1000
  for (const volume of volumes) if (volume.read('password') !== 'correct horse') t.fail(volume.target)

  const metrics = await node.metrics()
  t.equal(metrics.sum('volumes', { state: 'inSync' }), VOLUMES)
  t.equal(metrics.sum('publish_duration_seconds_count', { result: 'ok' }), VOLUMES)
  t.equal(metrics.sum('logins_total', { result: 'ok' }), VOLUMES / 2 + 1, 'one login for each identity')
  t.equal((await vault.loginTokens()).length, VOLUMES / 2 + 1)

  const again = performance.now()
  const calls = node.front.requests.length
  await side(VOLUMES, (index) => node.republish(volumes[index] as PodVolume))
  t.equal(node.front.requests.length, calls, 'a republish costs Vault nothing')
  const republished = (performance.now() - again) / 1000

  await side(VOLUMES, (index) => node.unpublish(volumes[index] as PodVolume))
  t.strictSame(await vault.loginTokens(), [])
  const longest = await health()
  t.comment(
    `${(VOLUMES / seconds).toFixed(0)} publishes/s, ${(VOLUMES / republished).toFixed(0)} republishes/s, ` +
      `/healthz within ${longest.toFixed(0)} ms`,
  )
  t.ok(longest < 1_000, `/healthz answered within ${longest.toFixed(0)} ms at most`)
})
