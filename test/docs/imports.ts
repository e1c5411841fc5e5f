import { globSync, readFileSync } from 'node:fs'
import t from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { ROOT } from '../../deploy/generate/deploy-files.ts'
import { readDoc } from '../../docs/generate/doc-files.ts'
import { parseImport } from '../../src/core/imports/import.ts'
import { knownFields } from '../../src/core/imports/schema.ts'
import { crdPath } from '../harness/cluster/cluster.ts'
import { docBlocks } from '../harness/vault/doc-shell.ts'

type Schema = { required?: string[]; items?: Schema; properties?: Record<string, Schema> }

/** The fields that pages leave out when they show only a spec. */
const ANY = {
  apiVersion: 'deckhouse.io/v1alpha1',
  kind: 'SecretsStoreImport',
  metadata: { name: 'any', namespace: 'any' },
}
const WITH_IMPORTS = [
  'README.md',
  'docs/admins/approle.md',
  'docs/admins/versions.md',
  'docs/migration.md',
  ...[
    'credentials',
    'environment',
    'imports',
    'leases',
    'secret-sync',
    'shared-paths',
    'templates',
    'whole-paths',
  ].map((name) => `docs/app-teams/${name}.md`),
]

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

t.test('docs/app-teams/imports.md has every field, and says which are required', async (t) => {
  const rows = [...readDoc('docs/app-teams/imports.md').matchAll(/^\| `([\w.[\]]+)`( \*)? \|/gm)]
  const documented = rows.map(([, field = '', star]): [string, boolean] => [field, star !== undefined])
  const crd = parse(readFileSync(crdPath, 'utf8'))
  const wanted = crdFields(crd.spec.versions[0].schema.openAPIV3Schema.properties.spec)
  t.strictSame(Object.fromEntries(documented), Object.fromEntries(wanted))
  t.equal(documented.length, wanted.length, 'each once')
  const known = Object.entries(knownFields).filter(([place]) => place !== '')
  t.equal(documented.length, known.flatMap(([, names]) => names).length, 'and the plugin knows no others')
})

/** Every import that a page shows, also when it shows only the spec. */
function importsOf(page: string): { heading: string; manifest: object }[] {
  return docBlocks(page)
    .filter(({ language }) => language === 'yaml')
    .flatMap(({ heading, text }) =>
      parseAllDocuments(text, { version: '1.1' }).map((document) => ({ heading, shown: document.toJS() })),
    )
    .filter(({ shown }) => shown?.kind === 'SecretsStoreImport' || shown?.spec?.role !== undefined)
    .map(({ heading, shown }) => ({ heading, manifest: { ...ANY, ...shown } }))
}

t.test('the imports that README and docs show are valid', async (t) => {
  const pages = ['README.md', ...globSync('docs/**/*.md', { cwd: ROOT })]
  const shown = pages.flatMap((page) => importsOf(page).map((one) => ({ page, ...one })))
  for (const { page, heading, manifest } of shown) {
    t.strictSame(faultsOf(manifest), [], `${page}: ${heading}`)
  }
  const withImports = new Set(shown.map(({ page }) => page))
  for (const page of WITH_IMPORTS) t.ok(withImports.has(page), page)
})

function faultsOf(manifest: unknown): readonly string[] {
  const parsed = parseImport(manifest)
  return 'faults' in parsed ? parsed.faults : []
}
