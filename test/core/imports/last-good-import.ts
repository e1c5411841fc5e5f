import t from 'tap'
import { parseImport } from '../../../src/core/imports/import.ts'
import {
  faultsOf,
  invalidImport,
  nextImportState,
  notValidated,
  specInForce,
} from '../../../src/core/imports/last-good-import.ts'

function valid(role: string) {
  const parsed = parseImport({
    apiVersion: 'deckhouse.io/v1alpha1',
    kind: 'SecretsStoreImport',
    metadata: { namespace: 'shop', name: 'app' },
    spec: { role, files: [{ name: 'a', source: { path: 'secret/data/a', key: 'k' } }] },
  })
  if (!('spec' in parsed)) throw new Error(parsed.faults.join('; '))
  return parsed
}

t.test('a faulty manifest leaves the last valid spec in force', async (t) => {
  const first = nextImportState(undefined, valid('one'))
  t.equal(first.state, 'valid')
  const second = nextImportState(first, { faults: ['spec.role: required'] })
  t.match(second, { state: 'lastGood', faults: ['spec.role: required'] })
  t.equal(specInForce(second), specInForce(first))
  const third = nextImportState(second, { faults: ['spec.files: required'] })
  t.equal(specInForce(third), specInForce(first))
  t.same(faultsOf(third), ['spec.files: required'])
  const fourth = nextImportState(third, valid('two'))
  t.match(specInForce(fourth), { role: 'two' })
  t.same(faultsOf(fourth), [])
})

t.test('an import that never was valid has faults and no spec', async (t) => {
  const state = nextImportState(nextImportState(undefined, { faults: ['a'] }), notValidated('out of memory'))
  t.equal(state.state, 'invalid')
  t.equal(specInForce(state), undefined)
  t.same(faultsOf(state), ['it could not be judged: out of memory'])
  const error = invalidImport({ namespace: 'shop', name: 'app' }, ['a', 'b'.repeat(10_000)])
  t.equal(error.fault, 'import_invalid')
  t.ok((error.facts.reason ?? '').startsWith('a; b'))
  t.equal(error.facts.reason?.length, 4096)
})

t.test('an equal spec stays the same object', async (t) => {
  const first = nextImportState(undefined, valid('one'))
  const faulty = nextImportState(first, { faults: ['a'] })
  for (const before of [first, faulty])
    t.equal(specInForce(nextImportState(before, valid('one'))), specInForce(first))
  t.not(specInForce(nextImportState(first, valid('two'))), specInForce(first))
})

t.test('an import that is not known has neither', async (t) => {
  t.equal(specInForce(undefined), undefined)
  t.same(faultsOf(undefined), [])
})

t.test('faults are bounded in number and length', async (t) => {
  const faults = faultsOf(nextImportState(undefined, { faults: Array(60).fill('x'.repeat(1000)) }))
  t.equal(faults.length, 51)
  t.equal(faults[0], `${'x'.repeat(500)}…`)
  t.equal(faults[50], 'and 10 more')
})
