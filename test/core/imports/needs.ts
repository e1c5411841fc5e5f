import t from 'tap'
import { type Call, readCall } from '../../../src/core/imports/calls.ts'
import { type ImportSpec, parseImport } from '../../../src/core/imports/import.ts'
import { needsOf, perVolumeFiles } from '../../../src/core/imports/needs.ts'

function importOf(spec: Record<string, unknown>): ImportSpec {
  const parsed = parseImport({
    apiVersion: 'deckhouse.io/v1alpha1',
    kind: 'SecretsStoreImport',
    metadata: { name: 'web', namespace: 'shop' },
    spec: { role: 'web', ...spec },
  })
  if ('faults' in parsed) throw new Error(parsed.faults.join('\n'))
  return parsed.spec
}

const none = () => false

const everything = importOf({
  sources: [
    { name: 'web', path: 'pki/issue/web', method: 'PUT', data: { common_name: 'a' } },
    { name: 'old', path: 'secret/data/app', version: 2 },
    { name: 'unused', path: 'pki/issue/unused', method: 'PUT' },
  ],
  files: [
    { name: 'crt', source: { ref: 'web', key: 'certificate' } },
    { name: 'key', source: { ref: 'web', key: 'private_key' } },
    { name: 'user', source: { path: 'secret/data/app', key: 'user' } },
    {
      name: 'both',
      source: { path: 'secret/data/app' },
      template: '{{ user }}{{ web.serial }}{{ old.user }}',
    },
    { name: 'db', source: { path: 'database/creds/app', key: 'password' } },
  ],
  dataFrom: [{ path: 'secret/data/app' }, { path: 'secret/data/env', format: 'Shell', fileName: 'env' }],
  credentials: [
    { format: 'Token', name: 'token' },
    { format: 'KubernetesVaultToken', name: 'token.json' },
    { format: 'SecretID', name: 'id' },
    { format: 'WrappedSecretID', name: 'wrapped' },
    { format: 'SecretID', name: 'other-id', role: 'other' },
    { format: 'CABundle', name: 'ca' },
  ],
})

t.test(
  'each path is read once, each source is issued once, and unused sources are not requested',
  async (t) => {
    const { reads, issueRequests } = needsOf(everything, none)
    t.strictSame(reads.map(({ key }) => key).sort(), [
      'database/creds/app',
      'secret/data/app',
      'secret/data/app?version=2',
      'secret/data/env',
    ])
    const calls = issueRequests.filter(({ kind }) => kind === 'call')
    t.match(calls, [{ call: { path: 'pki/issue/web' } }])
    t.equal(calls.length, 1)
  },
)

t.test(
  'all token files share one token; each AppRole has its own secret IDs, wrapped and plain',
  async (t) => {
    const { issueRequests } = needsOf(everything, none)
    t.match(
      issueRequests.filter(({ kind }) => kind !== 'call'),
      [
        { kind: 'token' },
        { kind: 'secret-id', role: 'web', authPath: 'approle', isWrapped: false },
        { kind: 'secret-id', role: 'web', isWrapped: true },
        { kind: 'secret-id', role: 'other', isWrapped: false },
      ],
    )
    t.equal(new Set(issueRequests.map(({ key }) => key)).size, issueRequests.length)
  },
)

t.test('a read that turned out to be leased becomes an issue request', async (t) => {
  const isLeased = ({ path }: Call) => path === 'database/creds/app'
  const { reads, issueRequests } = needsOf(everything, isLeased)
  t.notOk(reads.some(isLeased))
  t.ok(issueRequests.some((order) => order.kind === 'call' && isLeased(order.call)))
  t.equal(
    issueRequests.find((order) => order.kind === 'call' && isLeased(order.call))?.key,
    readCall('database/creds/app').key,
  )
})

t.test('files with leased values are distinguished from shared ones', async (t) => {
  const leased = ['database/creds/app', 'secret/data/env', 'secret/data/app']
  const names = ['crt', 'key', 'user', 'both', 'db', 'a-key-of-app', 'env', 'token', 'ca']
  const issued = ['both', 'crt', 'id', 'key', 'other-id', 'token', 'token.json', 'wrapped']
  const own = (count: number) => {
    const paths = leased.slice(0, count)
    return [
      ...perVolumeFiles(
        everything,
        needsOf(everything, ({ path }) => paths.includes(path)).issueRequests,
        names,
      ),
    ].sort()
  }
  t.strictSame(own(0), issued)
  t.strictSame(own(1), [...issued, 'db'].sort())
  t.strictSame(own(2), [...issued, 'db', 'env'].sort())
  t.strictSame(own(3), [...issued, 'db', 'env', 'user', 'a-key-of-app'].sort())
  t.strictSame([...perVolumeFiles(everything, [], names)].includes('user'), false)
})
