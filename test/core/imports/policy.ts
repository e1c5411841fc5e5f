import t from 'tap'
import { readCall, sourceCall } from '../../../src/core/imports/calls.ts'
import { checkPolicy } from '../../../src/core/imports/policy.ts'
import { importSpec } from '../../fakes/imports.ts'
import { faulty } from '../../harness/faulty.ts'
import { settings } from '../../harness/node-bench.ts'

const VAULT = 'https://vault.example.org'

t.test('allowed imports pass', async (t) => {
  t.doesNotThrow(() => checkPolicy(importSpec(), settings()))
  t.doesNotThrow(() => checkPolicy(importSpec({ address: `${VAULT}/` }), settings({ vaultAddr: VAULT })))
  t.doesNotThrow(() =>
    checkPolicy(importSpec({ address: 'https://b' }), settings({ allowAddress: ['https://b/'] })),
  )
  t.doesNotThrow(() => checkPolicy(importSpec({ address: 'https://b' }), settings({ allowAddress: ['*'] })))
  const plain = { address: 'http://a' }
  t.doesNotThrow(
    () => checkPolicy(importSpec(plain), settings({ vaultAddr: 'http://a' })),
    "the operator's own",
  )
  t.doesNotThrow(() => checkPolicy(importSpec(plain), settings({ allowAddress: ['*'], allowHttp: true })))
  t.doesNotThrow(() => checkPolicy(importSpec({ skipTLSVerify: true }), settings({ allowSkipVerify: true })))
  t.doesNotThrow(() => checkPolicy(importSpec({ refreshIntervalMs: 10_000 }), settings()))
})

t.test('a refusal names the flag that allows the import', async (t) => {
  const refused = (
    spec: Parameters<typeof importSpec>[0],
    over: Parameters<typeof settings>[0],
    flag: RegExp,
  ) => t.throws(() => checkPolicy(importSpec(spec), settings(over)), faulty('policy_refused', flag))
  refused({ address: 'https://evil' }, {}, /https:\/\/evil.*--allow-address=https:\/\/evil/)
  refused({ address: 'https://evil' }, { vaultAddr: undefined }, /--allow-address/)
  refused({ address: 'http://b' }, { allowAddress: ['*'] }, /--allow-http/)
  refused({ skipTLSVerify: true }, {}, /--allow-skip-verify/)
  refused({ refreshIntervalMs: 9_999 }, {}, /floor of 10s.*--min-refresh-interval/)
})

const file = importSpec().files[0]

/** Imports that read or call the path, one for each field that can contain a path. */
function calling(path: string, method: 'GET' | 'PUT' | 'POST' = 'GET') {
  const call =
    method === 'GET'
      ? readCall(path)
      : sourceCall({ name: 'own', path, method, version: undefined, data: {}, lease: undefined })
  const dataFrom = { prefix: '', include: undefined, exclude: undefined, fileName: undefined }
  return [
    { files: file ? [{ ...file, call }] : [] },
    { files: file ? [{ ...file, named: [{ name: 'own', call }] }] : [] },
    { dataFrom: [{ ...dataFrom, format: 'Files' as const, call }] },
  ]
}

t.test('without --allow-token-export no path under auth/ and sys/ is allowed', async (t) => {
  const paths = [
    ['auth/token/lookup-self'],
    ['auth/token/lookup-accessor', 'POST'],
    ['auth/token/create', 'PUT'],
    ['auth/approle/role/app/secret-id', 'PUT'],
    ['auth/approle/role/app/role-id'],
    ['auth/jwt/login', 'POST'],
    ['sys/wrapping/unwrap', 'POST'],
    ['sys/internal/ui/mounts'],
    ['sys/raw/core/keyring'],
    ['sys'],
    ['team/a/auth/approle/role/app/secret-id', 'POST'],
    ['team/a/auth/approle/role/app/custom-secret-id', 'PUT'],
    ['team/a/auth/token/create/orphans', 'PUT'],
    ['team/a/sys/wrapping/unwrap', 'PUT'],
  ] as const
  for (const [path, method] of paths) {
    for (const over of calling(path, method)) {
      const flag = /hand out Vault credentials|Vault token that reads.*--allow-token-export/
      t.throws(() => checkPolicy(importSpec(over), settings()), faulty('policy_refused', flag), path)
    }
  }
})

t.test('no setting allows a path that returns the reading token', async (t) => {
  const allowed = settings({ allowTokenExport: true })
  for (const path of [
    'auth/token/lookup-self',
    'auth/token/renew-self',
    'auth/token/lookup',
    'team/auth/token/lookup-self',
    'a/b/auth/token/lookup-self/more',
  ]) {
    for (const over of calling(path)) {
      const words = /would write the Vault token that reads it.*format Token/
      t.throws(() => checkPolicy(importSpec(over), allowed), faulty('policy_refused', words), path)
    }
  }
  const split = calling('lookup-self')[0]
  for (const vaultNamespace of ['auth/token', 'team/auth/token']) {
    t.throws(
      () => checkPolicy(importSpec({ ...split, vaultNamespace }), allowed),
      faulty('policy_refused', /./),
    )
    const over = settings({ vaultNamespace, allowTokenExport: true })
    t.throws(
      () => checkPolicy(importSpec(split), over),
      faulty('policy_refused', /./),
      'by --vault-namespace',
    )
  }
})

t.test('paths in which auth and sys are ordinary folders are allowed', async (t) => {
  const paths = [
    ['secret/data/auth/login'],
    ['secret/data/auth/token'],
    ['secret/data/auth/approle/secret-id'],
    ['kv/sys/raw'],
    ['authority/data/app'],
    ['system/data/app'],
    ['sys/tools/random/16', 'POST'],
    ['database/creds/auth'],
    ['pki/issue/sys', 'PUT'],
    ['transit/sign/auth/sha2-256', 'POST'],
    ['identity/oidc/token/app'],
    ['cubbyhole/app'],
  ] as const
  for (const [path, method] of paths) {
    for (const over of calling(path, method))
      t.doesNotThrow(() => checkPolicy(importSpec(over), settings()), path)
  }
  const allowed = settings({ allowTokenExport: true })
  for (const over of calling('auth/approle/role/app/role-id')) {
    t.doesNotThrow(() => checkPolicy(importSpec(over), allowed), 'with --allow-token-export')
  }
})
