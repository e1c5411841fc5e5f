// A hundred imports in use: what they hold open, what a tenant who edits without end costs, and a restart of the API server.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { noCluster } from '../harness/cluster/cluster.ts'
import { findComponent } from '../harness/cluster/component.ts'
import { startImportsNode } from '../harness/cluster/imports-node.ts'
import { ROLE } from '../harness/cluster/kube-vault.ts'
import { until } from '../harness/until.ts'

const USED = Array.from({ length: 100 }, (_, index) => `used-${index}`)
const EDITS = 500
const namespace = `imports-storms-${process.pid}`

t.setTimeout(600_000)

t.test('a hundred imports in use', { skip: noCluster }, async (t) => {
  const node = await startImportsNode(t, namespace)
  await node.vault.put('database-for-python-app', { password: 'first', user: 'app' })
  for (const name of USED) await node.applyImport(name)
  await node.start(['--rotation-interval=1h'])
  for (const name of USED) await node.publish(name)
  await sleep(3_000)
  const log = (message: string) => node.log().filter(({ msg }) => msg === message)
  const source = { path: 'secret/data/database-for-python-app', key: 'user' }
  /** Edits it so that its volume has a file of that name. @returns milliseconds until it has */
  const editOf = async (name: string, file: string, timeoutMs: number) => {
    await node.applyImport(name, { role: ROLE, files: [{ name: file, source }] })
    const at = performance.now()
    const isThere = () => readFileSync(join(node.targetOf(name), file), 'utf8') === 'app'
    await until(`${file} of ${name}`, isThere, { timeoutMs })
    return Math.round(performance.now() - at)
  }

  await t.test('their watches are a few connections', async (t) => {
    const { sockets, rssMiB } = node.cost()
    t.comment(`${sockets} sockets, ${Math.round(rssMiB)} MiB with ${USED.length} volumes`)
    t.ok(sockets <= 20, `${sockets} sockets`)
  })

  await t.test('a tenant who edits without end costs little and delays no other tenant', async (t) => {
    const before = node.cost().cpuSeconds
    const changesBefore = log('import changed').length
    const folder = `/apis/deckhouse.io/v1alpha1/namespaces/${namespace}/secretsstoreimports`
    const startedAt = performance.now()
    let worstMs = 0
    for (let edit = 0; edit < EDITS; edit += 1) {
      const files = [{ name: `file-${edit}`, source }]
      await node.api.patch(`${folder}/used-1`, { spec: { files } })
      if (edit % 20 === 10 && edit < 100)
        worstMs = Math.max(worstMs, await editOf(`used-${edit}`, 'victim', 10_000))
    }
    const passedMs = Math.round(performance.now() - startedAt)
    const last = () => readFileSync(join(node.targetOf('used-1'), `file-${EDITS - 1}`), 'utf8') === 'app'
    await until('the last edit', last, { timeoutMs: 15_000 })
    const spent = node.cost().cpuSeconds - before
    const changes = log('import changed').length - changesBefore
    t.comment(
      `${EDITS} edits in ${passedMs} ms: ${changes} looks, ${spent} CPU s; worst of others ${worstMs} ms`,
    )
    t.ok(changes < EDITS / 10, `${changes} of ${EDITS} edits were taken`)
    t.ok(worstMs < 5_000, `an edit by another arrived within ${worstMs} ms`)
  })

  const apiServer = findComponent('apiserver')
  const skip = apiServer === undefined && 'the API server is not ours to stop'
  await t.test('a restart of the API server', { skip }, async (t) => {
    const before = node.cost().cpuSeconds
    await apiServer?.stop()
    await sleep(5_000)
    for (const name of USED.slice(0, 10)) await node.publish(name)
    await t.rejects(node.publish('unheard-of'), /SecretsStoreImports cannot be read/)
    await apiServer?.start()
    const isBack = () => log('API server answers').length === 2
    await until('the API server to be found', isBack, { timeoutMs: 20_000 })
    const arrivals: number[] = []
    for (const name of USED.slice(10, 20)) arrivals.push(await editOf(name, 'after-restart', 20_000))
    await sleep(10_000)
    arrivals.sort((a, b) => a - b)
    t.comment(`edits after the restart arrived after ${arrivals.join(', ')} ms`)
    t.comment(`${node.cost().cpuSeconds - before} CPU s for the outage and its end`)
    t.ok((await editOf('used-30', 'later', 5_000)) < 2_000)
    const reasons = log('imports cannot be followed, known ones stay in force').map(({ reason }) => reason)
    t.comment(reasons.join('; '))
    // Each reason once: cut off, refused, not ready yet.
    t.ok(reasons.length <= 8, 'the outage is reported, and not by each import')
  })
  await node.stop()
})
