import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { parseImport } from '../../../src/core/imports/import.ts'
import { knownFields } from '../../../src/core/imports/schema.ts'
import { crdPath } from '../../harness/cluster/cluster.ts'
import { importManifest } from '../../harness/cluster/manifests.ts'
import { badFeatures } from '../../harness/imports/bad-features.ts'
import { badImports } from '../../harness/imports/bad-imports.ts'
import { goodFeatures } from '../../harness/imports/good-features.ts'

// An import from a directory is checked by the plugin only, one in a cluster by the CRD first (test/e2e/crd.ts, the same
// lists). Both must agree.

/** Depends on the node's settings: policy.ts refuses it. */
const CHECKED_BY_POLICY = ['an interval that is too short']

for (const [what, change] of [...badImports, ...badFeatures]) {
  t.test(`refused by the CRD and by the plugin: ${what}`, async (t) => {
    const parsed = parseImport(importManifest(change))
    if (CHECKED_BY_POLICY.includes(what)) t.hasProp(parsed, 'spec')
    else t.match(parsed, { faults: [/^[\w.[\]]+: /] })
  })
}

for (const [what, change] of goodFeatures) {
  t.test(`accepted by the CRD and by the plugin: ${what}`, async (t) => {
    const parsed = parseImport(importManifest(change))
    t.hasProp(parsed, 'spec', 'faults' in parsed ? parsed.faults.join('; ') : '')
  })
}

t.test('CRD and plugin know the same fields, and the CRD describes each', async (t) => {
  const crd = parse(readFileSync(crdPath, 'utf8'))
  const found: Record<string, string[]> = {}
  const walk = (schema: Schema, place: string) => {
    if (schema.items !== undefined) return walk(schema.items, `${place}[]`)
    if (schema.properties === undefined) return
    found[place] = Object.keys(schema.properties).sort()
    for (const [name, property] of Object.entries(schema.properties)) {
      t.match(property.description, /^\S.*\.$/s, `${place}.${name}`)
      walk(property, `${place}.${name}`)
    }
  }
  walk(crd.spec.versions[0].schema.openAPIV3Schema.properties.spec, 'spec')
  const known = Object.entries(knownFields).filter(([place]) => place !== '')
  t.strictSame(found, Object.fromEntries(known.map(([place, names]) => [place, [...names].sort()])))
})

type Schema = { description?: string; items?: Schema; properties?: Record<string, Schema> }
