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

const cases: [
  what: string,
  audience: string | undefined,
  driverAudiences: string[] | undefined,
  verdict: object,
][] = [
  ["the CSIDriver's only one", undefined, ['vault'], { outcome: 'ok', value: 'vault' }],
  [
    "the import's, which kubelet passes",
    'vault',
    ['', 'vault'],
    { value: 'vault', detail: /kubelet passes/ },
  ],
  [
    "the import's, which kubelet does not pass",
    'mine',
    ['vault'],
    { value: 'mine', detail: /requests such a token from the API server/ },
  ],
  ["the API server's own among several", undefined, ['a', ''], { outcome: 'ok', value: '' }],
  [
    'several, and the import sets none',
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
for (const [what, audience, driverAudiences, verdict] of cases) {
  t.test(`audience: ${what}`, async (t) => {
    t.match(checkAudience(spec(audience), driverAudiences), verdict)
  })
}
