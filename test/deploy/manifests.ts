import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { chartFiles, plainManifests, ROOT } from '../../deploy/generate/deploy-files.ts'

t.setTimeout(900_000)

t.test("the chart's copies equal what they are copies of", async (t) => {
  for (const [path, text] of chartFiles()) t.equal(onDisk(path), text, `${path}: run npm run manifests`)
})

t.test('the plain manifests are what the chart renders', async (t) => {
  const rendered = await plainManifests()
  for (const [path, text] of rendered) t.equal(onDisk(path), text, `${path}: run npm run manifests`)
  const present = readdirSync(join(ROOT, 'deploy/manifests')).map((file) => `deploy/manifests/${file}`)
  t.strictSame(present.sort(), [...rendered.keys()].sort(), 'and no others are there')
})

function onDisk(path: string): string {
  const file = join(ROOT, path)
  return existsSync(file) ? readFileSync(file, 'utf8') : ''
}
