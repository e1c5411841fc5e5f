// `npm run docs`: writes the parts of the documentation that are generated from the source.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../../deploy/generate/deploy-files.ts'
import { docFiles } from './doc-files.ts'

for (const [path, text] of docFiles()) {
  writeFileSync(join(ROOT, path), text)
  console.log(path)
}
