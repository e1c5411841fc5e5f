import t from 'tap'
import { createMetrics } from '../../src/ops/metrics.ts'

/** The page as `name{labels}` → value. */
async function scrape(metrics: ReturnType<typeof createMetrics>): Promise<Map<string, number>> {
  const { body } = await metrics.render()
  const lines = body.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => [
      line.slice(0, line.lastIndexOf(' ')),
      Number(line.slice(line.lastIndexOf(' ') + 1)),
    ]),
  )
}

t.test('every call of the meter is counted under its labels', async (t) => {
  const metrics = createMetrics({ version: '1.2.3' })
  const { meter } = metrics
  meter.published('ok', 0.02)
  meter.published('ok', 0.3)
  meter.published('login_denied', 1)
  meter.unpublished('ok', 0.001)
  meter.refreshed('changed', '')
  meter.refreshed('failed', 'unreachable')
  meter.refreshed('failed', 'unreachable')
  meter.vaultCall('read', 'ok', 0.004)
  meter.login('kubernetes', 'ok')
  const page = await scrape(metrics)
  for (const [series, value] of [
    ['vault_files_publish_duration_seconds_count{result="ok"}', 2],
    ['vault_files_publish_duration_seconds_sum{result="ok"}', 0.32],
    ['vault_files_publish_duration_seconds_bucket{le="0.025",result="ok"}', 1],
    ['vault_files_publish_duration_seconds_count{result="login_denied"}', 1],
    ['vault_files_unpublish_duration_seconds_count{result="ok"}', 1],
    ['vault_files_refreshes_total{result="changed",fault=""}', 1],
    ['vault_files_refreshes_total{result="unchanged",fault=""}', 0],
    ['vault_files_refreshes_total{result="failed",fault="unreachable"}', 2],
    ['vault_files_vault_call_duration_seconds_count{operation="read",result="ok"}', 1],
    ['vault_files_logins_total{method="kubernetes",result="ok"}', 1],
    [`vault_files_build_info{version="1.2.3",node_version="${process.version}"}`, 1],
  ] as const) {
    t.equal(page.get(series), value, series)
  }
})

t.test('volumes are read at each scrape, and a state without volumes disappears', async (t) => {
  const metrics = createMetrics({ version: '1' })
  t.equal((await scrape(metrics)).get('vault_files_oldest_sync_age_seconds'), 0)
  metrics.setVolumes(() => ({
    byState: { inSync: 3, stale: 1 },
    oldestSyncAgeSeconds: 42,
    leases: { active: 2, revoking: 1 },
    reservedBytes: 1024,
    limitBytes: 4096,
  }))
  const first = await scrape(metrics)
  t.equal(first.get('vault_files_volumes{state="inSync"}'), 3)
  t.equal(first.get('vault_files_volumes{state="stale"}'), 1)
  t.equal(first.get('vault_files_oldest_sync_age_seconds'), 42)
  t.equal(first.get('vault_files_leases{state="active"}'), 2)
  t.equal(first.get('vault_files_volume_reserved_bytes'), 1024)
  t.equal(first.get('vault_files_volume_limit_bytes'), 4096)
  t.equal(first.get('vault_files_leases{state="revoking"}'), 1)
  const bytes = { reservedBytes: 0, limitBytes: 4096 }
  metrics.setVolumes(() => ({ byState: { inSync: 4 }, oldestSyncAgeSeconds: 1, leases: {}, ...bytes }))
  const second = await scrape(metrics)
  t.equal(second.get('vault_files_volumes{state="inSync"}'), 4)
  t.notOk(second.has('vault_files_volumes{state="stale"}'))
})

t.test('the resource use of the process has the usual names', async (t) => {
  const page = await scrape(createMetrics({ version: '1' }))
  t.ok((page.get('process_resident_memory_bytes') ?? 0) > 10_000_000)
  t.ok((page.get('process_cpu_seconds_total') ?? 0) > 0)
  t.ok((page.get('process_open_fds') ?? 0) > 2)
  t.ok(Math.abs((page.get('process_start_time_seconds') ?? 0) - Date.now() / 1000) < 600)
  t.ok((page.get('nodejs_eventloop_utilization') ?? -1) >= 0)
})

t.test('CPU time counts up from scrape to scrape and is never added twice', async (t) => {
  const metrics = createMetrics({ version: '1' })
  await scrape(metrics)
  const page = await scrape(metrics)
  const { user, system } = process.cpuUsage()
  const counted = page.get('process_cpu_seconds_total') ?? 0
  t.ok(counted > 0 && counted <= (user + system) / 1e6)
})

t.test('two sets of metrics share nothing', async (t) => {
  const one = createMetrics({ version: '1' })
  const other = createMetrics({ version: '2' })
  one.meter.login('jwt', 'ok')
  t.notOk((await scrape(other)).has('vault_files_logins_total{method="jwt",result="ok"}'))
  t.match((await one.render()).contentType, 'text/plain; version=0.0.4')
})
