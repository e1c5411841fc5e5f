import t from 'tap'
import { checkAudience } from '../../../src/commands/doctor/service-account.ts'
import { parseImport } from '../../../src/core/imports/import.ts'
import { importManifest } from '../../harness/cluster/manifests.ts'

function spec(audience?: string) {
  const parsed = parseImport(
    importManifest((fields) => {
      if (audience !== undefined) fields.audience = audience
    }),
  )
  if ('faults' in parsed) throw new Error(parsed.faults.join())
  return parsed.spec
}

const cases: [what: string, own: string | undefined, ofDriver: string[] | undefined, verdict: object][] = [
  ["the driver's only one", undefined, ['vault'], { outcome: 'ok', value: 'vault' }],
  [
    "the import's, which kubelet passes",
    'vault',
    ['', 'vault'],
    { value: 'vault', detail: /kubelet passes/ },
  ],
  ["the import's own", 'mine', ['vault'], { value: 'mine', detail: /the plugin asks the API server/ }],
  ["of several the API server's own", undefined, ['a', ''], { outcome: 'ok', value: '' }],
  [
    'of several none',
    undefined,
    ['a', 'b'],
    { outcome: 'fail', detail: /several \(a, b\)/, fix: /spec\.audience/ },
  ],
  ['no tokenRequests', undefined, [], { outcome: 'fail', detail: /no tokenRequests/ }],
  [
    'a CSIDriver that cannot be read',
    undefined,
    undefined,
    { outcome: 'skipped', detail: /give --token-file/ },
  ],
]
for (const [what, own, ofDriver, verdict] of cases) {
  t.test(`audience: ${what}`, async (t) => {
    t.match(checkAudience(spec(own), ofDriver), verdict)
  })
}
