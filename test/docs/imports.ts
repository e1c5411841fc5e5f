import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { parseImport } from '../../src/core/import.ts'
import { knownFields } from '../../src/core/import-schema.ts'
import { crdPath } from '../support/cluster.ts'
import { readDoc } from '../support/doc-files.ts'
import { docBlocks } from '../support/doc-shell.ts'

type Schema = { required?: string[]; items?: Schema; properties?: Record<string, Schema> }

/** Field by its path beneath spec; whether the CRD requires it. */
function crdFields(schema: Schema, place = ''): [string, boolean][] {
  if (schema.items !== undefined) return crdFields(schema.items, `${place}[]`)
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    const field = place === '' ? name : `${place}.${name}`
    return [
      [field, schema.required?.includes(name) ?? false] as [string, boolean],
      ...crdFields(property, field),
    ]
  })
}

t.test('docs/imports.md has every field, and says which are required', async (t) => {
  const rows = [...readDoc('docs/imports.md').matchAll(/^\| `([\w.[\]]+)`( \*)? \|/gm)]
  const documented = rows.map(([, field = '', star]): [string, boolean] => [field, star !== undefined])
  const crd = parse(readFileSync(crdPath, 'utf8'))
  const wanted = crdFields(crd.spec.versions[0].schema.openAPIV3Schema.properties.spec)
  t.strictSame(Object.fromEntries(documented), Object.fromEntries(wanted))
  t.equal(documented.length, wanted.length, 'each once')
  const known = Object.entries(knownFields).filter(([place]) => place !== '')
  t.equal(documented.length, known.flatMap(([, names]) => names).length, 'and the plugin knows no others')
})

for (const page of ['docs/imports.md', 'docs/shared-paths.md']) {
  t.test(`the imports of ${page} are valid`, async (t) => {
    const manifests = docBlocks(page).filter(({ language }) => language === 'yaml')
    t.ok(manifests.length > 0)
    for (const { heading, text } of manifests) {
      t.hasProp(parseImport(parse(text, { version: '1.1' })), 'spec', heading)
    }
  })
}
