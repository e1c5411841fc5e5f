import t from 'tap'
import { type ApiServer, startApiServer, whyNoApiServer } from './harness/api-server.ts'
import { type Attack, runAttacks } from './harness/attack.ts'
import { type Attacker, sideBySide } from './harness/attacker.ts'
import { importsInCluster, manifest } from './harness/imports-place.ts'
import { memoryMiB, processCpuMs } from './harness/proc.ts'
import { VICTIM } from './harness/victim-messages.ts'
import { ATTACKER } from './harness/world.ts'

// Imports as they are in a cluster: a real API server takes them, whatever its schema lets pass, and every node hears.

const STRANGERS = 1_000
const EDITS = 300
const file = (name: string, more: object = {}) => ({
  name,
  source: { path: 'attacker1/x', key: 'value' },
  ...more,
})
const files = (count: number, more: object = {}) =>
  Array.from({ length: count }, (_, index) => file(`f-${index}`, more))
const nested = (depth: number): object =>
  JSON.parse(`${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`) as object
let api: ApiServer

/** Imports that the API server may take or refuse; the plugin meets them running, and again when it starts. */
const taken = (name: string, finding: number, specs: readonly object[]): Attack => ({
  name,
  finding,
  restarts: true,
  async run(attacker) {
    let refused = 0
    for (const [index, spec] of specs.entries()) {
      await attacker.import(`own-${index}`, spec).catch(() => {
        refused += 1
      })
    }
    await attacker.dwell(1)
    await attacker.restart()
    if (refused < specs.length) await attacker.attempt({ importName: 'own-0', patienceMs: 500 })
  },
})

const secretSync = (type: string) => ({
  files: [file('f')],
  secretSync: [{ name: 'synced', type, data: [{ key: 'k', file: 'f' }] }],
})
const PROTOTYPE_NAMES = [
  'constructor',
  'toString',
  'valueOf',
  'hasOwnProperty',
  '__proto__',
  '__lookupGetter__',
]

const pathOf = (name: string) => `apis/deckhouse.io/v1alpha1/namespaces/strangers/secretsstoreimports/${name}`

/** Ordinary imports of teams that have no pod on this node. */
async function strangers(count: number): Promise<void> {
  const spec = {
    role: 'strangers',
    files: [...files(8), { name: 'dsn', source: { path: 'kv/x' }, template: '{{ user }}:{{ password }}@db' }],
  }
  const names = Array.from({ length: count }, (_, index) => `stranger-${index}`)
  await sideBySide(names, async (name) => {
    const body = JSON.parse(manifest('strangers', name, spec)) as object
    await api.call('POST', pathOf('').replace(/\/$/, ''), body).catch(() => undefined)
  })
}

const attacks: Attack[] = [
  taken('secretSync types with names of Object.prototype', 1, PROTOTYPE_NAMES.map(secretSync)),
  taken(
    'files, keys and sources with names of Object.prototype',
    1,
    PROTOTYPE_NAMES.map((name) => ({
      sources: [{ name, path: 'attacker1/x', method: 'PUT', data: { [name]: { [name]: 1 } } }],
      files: [{ name, source: { ref: name, key: name } }],
    })),
  ),
  taken('data nested 5,000 deep', 1, [
    {
      sources: [{ name: 's', path: 'attacker1/x', method: 'PUT', data: nested(5_000) }],
      files: [{ name: 'f', source: { ref: 's', key: 'value' } }],
    },
  ]),
  taken('data nested 9,900 deep and 200,000 wide', 1, [
    {
      sources: [{ name: 's', path: 'attacker1/x', method: 'PUT', data: nested(9_900) }],
      files: [{ name: 'f', source: { ref: 's', key: 'value' } }],
    },
    {
      sources: [{ name: 's', path: 'attacker1/x', method: 'PUT', data: { a: Array(200_000).fill({}) } }],
      files: [{ name: 'f', source: { ref: 's', key: 'value' } }],
    },
  ]),
  taken('caCert of 190 kB and 900 kB of PEM beginnings', 5, [
    { files: [file('f')], caCert: '-----BEGIN A-----'.repeat(11_200) },
    { files: [file('f')], caCert: '-----BEGIN CERTIFICATE-----\n'.repeat(32_000) },
    { files: [file('f')], caCert: `-----BEGIN ${'A '.repeat(400_000)}` },
  ]),
  taken('imports of 1 MB: as many files as the schema takes, and long templates', 2, [
    { files: files(9_000) },
    { files: files(900) },
    { files: files(14, { source: { path: 'attacker1/x' }, template: '{{a}}'.repeat(13_000) }) },
    {
      files: files(14, {
        source: { path: 'attacker1/x' },
        template: '{%if a%}'.repeat(4_000) + '{%endif%}'.repeat(3_500),
      }),
    },
  ]),
  taken('patterns with nested repetitions, names of 100 kB', 5, [
    { dataFrom: [{ path: 'attacker1/x', include: `(${'a?'.repeat(50_000)})+`, exclude: '(a+)+$' }] },
    { role: 'a'.repeat(500_000), files: [file('f')] },
    { files: [file('a/'.repeat(50_000))] },
    { files: [file('f', { mode: '0'.repeat(500_000) })], refreshInterval: '1'.repeat(500_000) },
  ]),
  {
    name: `${STRANGERS} ordinary imports of namespaces without a pod here, and a start among them`,
    finding: 2,
    restarts: true,
    async run(attacker) {
      await attacker.stage.restart()
      await attacker.dwell(1)
      const alone = costOf(attacker)
      await strangers(STRANGERS)
      await attacker.dwell(2)
      await attacker.restart()
      const atStart = processCpuMs(attacker.stage.plugin().pid)
      await attacker.dwell(1)
      const among = costOf(attacker)
      const grown = among.rssMiB - alone.rssMiB
      attacker.expect(grown <= 15, `RSS ${grown.toFixed(0)} MiB more among ${STRANGERS} imports of others`)
      attacker.expect(
        atStart <= 3_000,
        `${atStart.toFixed(0)} ms of CPU at a start among ${STRANGERS} imports of others`,
      )
    },
  },
  {
    name: `${EDITS} edits of imports that nobody here uses`,
    finding: 2,
    async prepare() {
      await strangers(EDITS)
    },
    async run(attacker) {
      // The victim and the prober cost too: what they cost without edits is taken off.
      const { pid } = attacker.stage.plugin()
      const quietFrom = processCpuMs(pid)
      await attacker.dwell(3)
      const quietPerMs = (processCpuMs(pid) - quietFrom) / 3_000
      const [from, began] = [processCpuMs(pid), performance.now()]
      const names = Array.from({ length: EDITS }, (_, index) => `stranger-${index}`)
      await sideBySide(names, (name) =>
        api.call('PATCH', pathOf(name), { spec: { refreshInterval: '3m' } }, 'application/merge-patch+json'),
      )
      await attacker.dwell(1)
      const cost = processCpuMs(pid) - from - quietPerMs * (performance.now() - began)
      attacker.expect(cost <= 1_000, `${cost.toFixed(0)} ms of CPU for ${EDITS} edits of others' imports`)
    },
  },
  {
    name: 'an own import edited 100 times, 30 templates each',
    finding: 5,
    async run(attacker) {
      await attacker.put('x', { value: 'v', a: 'a' })
      const spec = (edit: number) => ({
        files: files(14, { source: { path: 'attacker1/x' }, template: `${edit}${'{{a}}'.repeat(5_000)}` }),
      })
      await attacker.strike('edited', spec(0))
      for (let edit = 1; edit <= 100; edit++) await attacker.import('edited', spec(edit))
    },
  },
  {
    name: 'the API server says nothing: imports in use go on, others have a clear error',
    finding: 2,
    async run(attacker) {
      await attacker.put('x', { value: 'v' })
      await attacker.strike('used', { files: [file('f')] })
      api.pause()
      try {
        const used = await attacker.attempt({ importName: 'used' })
        attacker.expect(used.error === undefined, `an import in use: ${used.error?.message.slice(0, 200)}`)
        const other = await attacker.attempt({ importName: 'never-seen', patienceMs: 100 })
        attacker.expect(
          other.error !== undefined && other.error.code !== 'DEADLINE_EXCEEDED',
          `another import: ${other.error?.message.slice(0, 200)}`,
        )
        await attacker.dwell(1)
      } finally {
        api.goOn()
      }
      await attacker.dwell(1)
    },
  },
]

function costOf({ stage }: Attacker): { rssMiB: number } {
  return { rssMiB: memoryMiB(stage.plugin().pid).rss }
}

const reason = whyNoApiServer()
if (reason !== undefined) {
  t.test('imports in a cluster', { skip: reason }, () => undefined)
} else {
  api = await startApiServer()
  t.teardown(() => api.close())
  for (const name of [VICTIM, ATTACKER, 'strangers']) {
    await api.call('POST', 'api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
  }
  await runAttacks('cluster', attacks, { imports: importsInCluster(api) })
}
