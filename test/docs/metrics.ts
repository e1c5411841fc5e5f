import t from 'tap'
import { readDoc } from '../../docs/generate/doc-files.ts'
import { createMetrics } from '../../src/ops/metrics.ts'

const metrics = createMetrics({ version: 'test' })

/** Names as Prometheus has them, by what their help says they are. */
async function exported(): Promise<string[]> {
  const { body } = await metrics.render()
  return [...body.matchAll(/^# TYPE (\w+) /gm)].map(([, name = '']) => name)
}

t.test('docs/admins/metrics.md has every metric, and no other', async (t) => {
  const text = readDoc('docs/admins/metrics.md')
  const documented = [...text.matchAll(/^\| `(\w+)`/gm)].map(([, name = '']) => name)
  t.strictSame(documented.sort(), (await exported()).sort())
})

t.test('alerts and dashboard name metrics and labels that exist', async (t) => {
  const { meter } = metrics
  meter.published('ok', 1)
  meter.refreshed('failed', 'sealed')
  meter.vaultCall('read', 'ok', 1)
  meter.login('jwt', 'ok')
  const bytes = { reservedBytes: 1, limitBytes: 2 }
  metrics.setVolumes(() => ({
    byState: { inSync: 1 },
    oldestSyncAgeSeconds: 1,
    leases: { active: 1 },
    ...bytes,
  }))
  const { body } = await metrics.render()
  const own = [...body.matchAll(/^(\w+)(?:\{([^}]*)\})? /gm)]
  const names = new Set(own.map(([, name]) => name))
  const labels = new Set(
    own.flatMap(([, , text = '']) => [...text.matchAll(/(\w+)="/g)].map(([, label]) => label)),
  )
  // Of the scrape, not of ours.
  for (const label of ['instance', 'node']) labels.add(label)
  for (const path of ['deploy/alerts/vault-files-csi.yaml', 'deploy/dashboards/vault-files-csi.json']) {
    const text = readDoc(path)
    const named = [...text.matchAll(/\b((?:vault_files|process|nodejs)_\w+)/g)].map(([, name]) => name)
    t.ok(named.length > 5, path)
    for (const name of named) t.ok(names.has(name), `${path}: ${name}`)
    const grouped = [...text.matchAll(/\b(?:by|on) \(([\w, ]+)\)/g)].flatMap(([, list = '']) =>
      list.split(', '),
    )
    for (const label of grouped) t.ok(labels.has(label), `${path}: label ${label}`)
  }
})
