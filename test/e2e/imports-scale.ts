// What imports of others cost a node that uses twenty. IMPORTS_OF_OTHERS=20000 for the figure of the documentation.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { noCluster } from '../harness/cluster/cluster.ts'
import { type ImportsNode, startImportsNode } from '../harness/cluster/imports-node.ts'
import { createManyImports } from '../harness/cluster/many-imports.ts'
import { until } from '../harness/until.ts'

const OTHERS = Number(process.env.IMPORTS_OF_OTHERS ?? 2_000)
const USED = Array.from({ length: 20 }, (_, index) => `used-${index}`)
const STARTS = 3
const EDITS = 500
/** What the start has set off has come to rest by then, the collection of garbage among it. */
const SETTLE_MS = 5_000

const goals = { moreRssMiB: 10, readyMs: 2_000, startCpuSeconds: 2, editsCpuSeconds: 0.3 }
const namespace = `imports-scale-${process.pid}`

t.setTimeout(900_000)

t.test(`${OTHERS} imports of others cost this node next to nothing`, { skip: noCluster }, async (t) => {
  const node = await startImportsNode(t, namespace)
  for (const name of USED) await node.applyImport(name)
  await node.start()
  for (const name of USED) await node.publish(name)
  await node.stop()
  const alone = await startSeveral(node)
  t.comment(`with ${USED.length} imports: ${JSON.stringify(alone)}`)

  const others = await createManyImports(node.api, `${namespace}-other`)
  t.teardown(() => others.remove())
  const madeAt = performance.now()
  await others.growTo(OTHERS)
  t.comment(`${OTHERS} imports made in ${Math.round((performance.now() - madeAt) / 1000)} s`)

  const beside = await startSeveral(node)
  t.comment(`with ${OTHERS} more: ${JSON.stringify(beside)}`)
  t.ok(beside.rssMiB - alone.rssMiB <= goals.moreRssMiB, `${beside.rssMiB} MiB, alone ${alone.rssMiB}`)
  t.ok(beside.readyMs <= goals.readyMs, `ready after ${beside.readyMs} ms`)
  t.ok(beside.cpuSeconds <= goals.startCpuSeconds, `${beside.cpuSeconds} CPU s until all are followed`)

  await node.start()
  await followAll(node)
  const quiet = await costOfTime(node, SETTLE_MS)
  const lines = node.log().length
  const before = node.cost().cpuSeconds
  const editedAt = performance.now()
  await others.edit(EDITS)
  const passedMs = performance.now() - editedAt
  await sleep(1_000)
  const spent = node.cost().cpuSeconds - before
  t.comment(
    `${EDITS} edits in ${Math.round(passedMs)} ms: ${spent} CPU s; ${SETTLE_MS} ms of quiet: ${quiet} CPU s`,
  )
  t.ok(spent <= goals.editsCpuSeconds, `${spent} CPU s for ${EDITS} edits of others`)
  t.equal(node.log().length, lines, 'not a line is logged')

  await t.test('an edit of its own reaches the volume', async (t) => {
    await node.vault.put('database-for-python-app', { password: 'first', user: 'app' })
    const files = [{ name: 'db-user', source: { path: 'secret/data/database-for-python-app', key: 'user' } }]
    await node.applyImport('used-0', { role: 'my-namespace1_backend', files })
    const at = performance.now()
    const path = join(node.targetOf('used-0'), 'db-user')
    await until('the new file', () => readFileSync(path, 'utf8') === 'app')
    const passedMs = Math.round(performance.now() - at)
    t.ok(passedMs < 5_000, `after ${passedMs} ms`)
  })

  await t.test('a message names what a namespace full of imports has, and is short', async (t) => {
    const error = await node.publish('unheard-of').catch((thrown: Error) => thrown)
    t.match(error, { message: /"unheard-of" not found in namespace .*there exist "used-0"/ })
  })
  await node.stop()
})

type Start = { readyMs: number; cpuSeconds: number; rssMiB: number }

/** The middle of several: starts of one program differ. */
async function startSeveral(node: ImportsNode): Promise<Start> {
  const starts: Start[] = []
  for (let times = 0; times < STARTS; times += 1) {
    await node.start()
    await followAll(node)
    const { cpuSeconds } = node.cost()
    await sleep(SETTLE_MS)
    starts.push({ readyMs: Math.round(node.plugin().readyMs), cpuSeconds, rssMiB: node.cost().rssMiB })
    await node.stop()
  }
  const middle = (key: keyof Start) => starts.map((one) => one[key]).sort((a, b) => a - b)[STARTS >> 1] ?? 0
  return {
    readyMs: middle('readyMs'),
    cpuSeconds: middle('cpuSeconds'),
    rssMiB: Math.round(middle('rssMiB') * 10) / 10,
  }
}

/** kubelet brings all volumes with their tokens: each looks at its import. */
async function followAll(node: ImportsNode): Promise<void> {
  for (const name of USED) await node.publish(name)
  const isQuiet = async () => (await costOfTime(node, 500)) < 0.03
  await until('the looks to come to their end', isQuiet, { timeoutMs: 60_000 })
}

async function costOfTime(node: ImportsNode, ms: number): Promise<number> {
  const before = node.cost().cpuSeconds
  await sleep(ms)
  return node.cost().cpuSeconds - before
}
