// Each golden/NAME.input.(yaml|json) must convert to golden/NAME.output.yaml and golden/NAME.stderr.txt, byte for byte.
// UPDATE_GOLDEN=1 tap run --disable-coverage test/commands/convert/golden.ts rewrites the expected files: read the diff.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parseAllDocuments } from 'yaml'
import { parseImport } from '../../../src/core/imports/import.ts'
import { kubectlTags } from '../../../src/core/imports/kubectl-yaml.ts'
import { convertText } from '../../harness/commands/convert-bench.ts'

const folder = join(import.meta.dirname, 'golden')
const inputs = readdirSync(folder).filter((file) => file.includes('.input.'))

t.ok(inputs.length >= 9)
for (const input of inputs) {
  const name = input.replace(/\.input\.\w+$/, '')
  t.test(name, async (t) => {
    const text = readFileSync(join(folder, input), 'utf8')
    const { code, output, errors } = convertText(text)
    t.equal(code, 0)
    expectFile(t, `${name}.output.yaml`, output)
    expectFile(t, `${name}.stderr.txt`, errors)

    t.same(convertText(text), { code, output, errors }, 'the same input gives the same text')
    const again = convertText(output)
    t.match(again, { code: 1, output: '', errors: /nothing to convert/ }, 'nothing is left to convert')

    const manifests = documentsOf(output)
    const imports = manifests.filter(({ kind }) => kind === 'SecretsStoreImport')
    t.ok(imports.length > 0)
    for (const { metadata, ...manifest } of imports) {
      // kubectl apply sets a missing namespace.
      const parsed = parseImport({ ...manifest, metadata: { namespace: 'default', ...metadata } })
      t.same('faults' in parsed ? parsed.faults : [], [], `${metadata.name} is a valid import`)
    }
    for (const referenced of importsReferencedIn(manifests)) {
      t.ok(
        imports.some(({ metadata }) => metadata.name === referenced),
        `${referenced} exists`,
      )
    }
  })
}

type Manifest = { kind: string; metadata: { name: string } }

function documentsOf(text: string): Manifest[] {
  return parseAllDocuments(text, { version: '1.1', customTags: kubectlTags }).map((document) => {
    t.same(document.errors, [])
    return document.toJS() as Manifest
  })
}

function importsReferencedIn(manifests: readonly Manifest[]): string[] {
  return [...JSON.stringify(manifests).matchAll(/"secretsStoreImport":"([^"]+)"/g)].map(
    ([, name = '']) => name,
  )
}

function expectFile(t: Test, file: string, actual: string): void {
  const path = join(folder, file)
  if (process.env.UPDATE_GOLDEN === '1') writeFileSync(path, actual)
  t.equal(actual, existsSync(path) ? readFileSync(path, 'utf8') : '', `${file} (UPDATE_GOLDEN=1 rewrites it)`)
}
