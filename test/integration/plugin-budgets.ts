import { statfsSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { startRealNode } from '../harness/plugin/real-node.ts'
import { until } from '../harness/until.ts'

/** What volumes may hold, on real tmpfs. */
const KIB = 1024
const node = await startRealNode(t, {
  args: ['--max-volume-bytes=1Mi', '--max-namespace-bytes=2Mi', '--max-node-bytes=4Mi'],
})
const { vault } = node

function importOf(path: string): object {
  const files = [{ name: 'value', source: { path: `secret/data/${path}`, key: 'value' } }]
  return { role: 'app', refreshInterval: '1s', files }
}

const sizeOf = (path: string) => statfsSync(path).blocks * statfsSync(path).bsize
const reserved = async () => (await node.metrics()).sum('volume_reserved_bytes', {})

t.test('a tmpfs grows before its files do, and shrinks after them, mounted all the while', async (t) => {
  await vault.put('growing', { value: 'small' })
  await node.writeImport('growing', importOf('growing'))
  const volume = await node.publish({ importName: 'growing' })
  t.equal(sizeOf(volume.target), 128 * KIB)
  for (const [bytes, least] of [
    [200 * KIB, 400 * KIB],
    [500 * KIB, 1000 * KIB],
  ] as const) {
    await vault.put('growing', { value: 'x'.repeat(bytes) })
    await until('the rotation', () => volume.read('value').length === bytes)
    t.ok(sizeOf(volume.target) >= least && sizeOf(volume.target) <= 1024 * KIB, `${sizeOf(volume.target)}`)
    t.equal(await reserved(), sizeOf(volume.target))
  }
  await vault.put('growing', { value: 'small again' })
  await until('the rotation', () => volume.read('value') === 'small again')
  await until('the room given back', () => sizeOf(volume.target) === 128 * KIB)
  await node.unpublish(volume)
  t.equal(await reserved(), 0)
})

t.test('what a container has written keeps its volume large, and its files right', async (t) => {
  await vault.put('filled', { value: 'x'.repeat(200 * KIB) })
  await node.writeImport('filled', importOf('filled'))
  const volume = await node.publish({ importName: 'filled' })
  const size = sizeOf(volume.target)
  writeFileSync(volume.path('..own'), Buffer.alloc(200 * KIB))
  await vault.put('filled', { value: 'small' })
  await until('the rotation', () => volume.read('value') === 'small')
  t.ok(sizeOf(volume.target) <= size)
  t.equal(await reserved(), sizeOf(volume.target), 'what it may hold is what counts')
  await node.unpublish(volume)
})

t.test('beyond the budget of its namespace nothing comes up, and after an end it does', async (t) => {
  await vault.put('full', { value: 'x'.repeat(400 * KIB) })
  await node.writeImport('full', importOf('full'))
  const volumes = [await node.publish({ importName: 'full' }), await node.publish({ importName: 'full' })]
  const { code, details } = await node.refusal({ importName: 'full' })
  t.equal(code, 'RESOURCE_EXHAUSTED')
  t.match(details, /may hold 2097152 bytes, with this one they would hold 2228224.*--max-namespace-bytes/)
  await node.unpublish(volumes.pop()!)
  volumes.push(await node.publish({ importName: 'full' }))
  for (const volume of volumes) await node.unpublish(volume)
  t.equal(await reserved(), 0)
})
