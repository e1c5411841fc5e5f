// `npm run manifests`: writes the chart's copies of files, then the manifests rendered from the chart.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { chartFiles, plainManifests, ROOT } from './deploy-files.ts'

writeFiles(chartFiles())
writeFiles(await plainManifests())

function writeFiles(files: ReadonlyMap<string, string>): void {
  for (const [path, text] of files) {
    mkdirSync(dirname(join(ROOT, path)), { recursive: true })
    writeFileSync(join(ROOT, path), text)
    console.log(path)
  }
}
