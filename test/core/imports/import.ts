import t from 'tap'
import { readCall } from '../../../src/core/imports/calls.ts'
import { identifyImport, parseImport } from '../../../src/core/imports/import.ts'
import { createCertificateAuthority } from '../../harness/pki/certificates.ts'

type Tree = Record<string, unknown>

const ca = createCertificateAuthority().certificate

/** A valid manifest with changes: spec, first file and its source are merged, other fields are replaced. */
function manifest(
  changes: { spec?: Tree; file?: Tree; source?: Tree; metadata?: Tree; top?: Tree } = {},
): Tree {
  const source = { path: 'secret/data/app', key: 'password', ...changes.source }
  const file = { name: 'db-password', source, ...changes.file }
  return {
    apiVersion: 'deckhouse.io/v1alpha1',
    kind: 'SecretsStoreImport',
    metadata: { name: 'python-backend', namespace: 'my-namespace1', ...changes.metadata },
    spec: { role: 'my-namespace1_backend', files: [file], ...changes.spec },
    ...changes.top,
  }
}

function faultsOf(value: unknown): string[] {
  const parsed = parseImport(value)
  return 'faults' in parsed ? parsed.faults : []
}

function specOf(value: unknown) {
  const parsed = parseImport(value)
  if ('faults' in parsed) throw new Error(parsed.faults.join('\n'))
  return parsed.spec
}

t.test("the documentation's manifest is accepted and gets the defaults", async (t) => {
  t.same(specOf(manifest({ spec: { type: 'CSI' } })), {
    name: 'python-backend',
    namespace: 'my-namespace1',
    authMethod: 'kubernetes',
    appRole: undefined,
    role: 'my-namespace1_backend',
    authPath: undefined,
    vaultNamespace: undefined,
    address: undefined,
    caCert: undefined,
    caCertRef: undefined,
    tlsServerName: undefined,
    skipTLSVerify: false,
    audience: undefined,
    refreshIntervalMs: undefined,
    updateMode: 'Live',
    missingPolicy: 'Fail',
    defaultMode: undefined,
    files: [
      {
        name: 'db-password',
        call: readCall('secret/data/app'),
        key: 'password',
        template: undefined,
        named: [],
        sourceNames: [],
        encoding: 'utf-8',
        mode: undefined,
        optional: false,
      },
    ],
    dataFrom: [],
    credentials: [],
    secretSync: [],
  })
})

t.test('every existing field is parsed', async (t) => {
  const spec = specOf(
    manifest({
      metadata: { creationTimestamp: null, labels: { a: 'b' } },
      top: { status: { conditions: [] } },
      spec: {
        authMethod: 'jwt',
        authPath: 'main-kube',
        namespace: 'ns1/ns2/',
        address: 'https://vault.example.org:8200',
        caCert: ca,
        tlsServerName: 'vault.internal',
        skipTLSVerify: true,
        audience: 'https://vault.example.org',
        refreshInterval: '1m30s',
        updateMode: 'Atomic',
        missingPolicy: 'Ignore',
        defaultMode: 0o640,
      },
      file: { encoding: 'hex', mode: '0400', optional: true },
      source: { path: '/kv1//app/' },
    }),
  )
  t.match(spec, {
    authMethod: 'jwt',
    authPath: 'main-kube',
    vaultNamespace: 'ns1/ns2',
    address: 'https://vault.example.org:8200',
    caCert: ca,
    tlsServerName: 'vault.internal',
    skipTLSVerify: true,
    audience: 'https://vault.example.org',
    refreshIntervalMs: 90_000,
    updateMode: 'Atomic',
    missingPolicy: 'Ignore',
    defaultMode: 0o640,
  })
  t.match(spec.files[0], {
    call: { path: 'kv1/app', key: 'kv1/app' },
    encoding: 'hex',
    mode: 0o400,
    optional: true,
  })
})

t.test('decodeBase64 is the same as encoding base64', async (t) => {
  for (const file of [
    { decodeBase64: true },
    { encoding: 'base64' },
    { decodeBase64: true, encoding: 'base64' },
  ]) {
    t.equal(specOf(manifest({ file })).files[0]?.encoding, 'base64')
  }
  t.equal(specOf(manifest({ file: { decodeBase64: false, encoding: 'hex' } })).files[0]?.encoding, 'hex')
  t.equal(specOf(manifest({ file: { decodeBase64: false } })).files[0]?.encoding, 'utf-8')
})

t.test('a null field, or an empty one where empty means nothing, counts as absent', async (t) => {
  const spec = specOf(
    manifest({
      spec: { authPath: null, refreshInterval: null, caCert: '', audience: '', tlsServerName: '' },
      file: { mode: null, encoding: null },
    }),
  )
  t.match(spec, { authPath: undefined, caCert: undefined, audience: undefined, tlsServerName: undefined })
  t.equal(spec.files[0]?.mode, undefined)
})

const web = { name: 'web', path: 'pki/issue/web', method: 'PUT', data: { common_name: 'a' } }
const synced = { name: 'app', data: [{ key: 'A', file: 'db-password' }] }

/** A spec whose only file has a template. */
function templated(template: string, file: Tree = {}): Tree {
  return { files: [{ name: 'f', source: { path: 'secret/data/app' }, template, ...file }] }
}

const bad: [string, unknown, string][] = [
  ['no object', 'text', 'the manifest must be an object, is a string'],
  ['nothing', null, 'the manifest must be an object, is null'],
  ['a list', [], 'the manifest must be an object, is a list'],
  [
    'another apiVersion',
    manifest({ top: { apiVersion: 'v1' } }),
    'apiVersion: must be "deckhouse.io/v1alpha1", is "v1"',
  ],
  ['no kind', manifest({ top: { kind: undefined } }), 'kind: required, must be "SecretsStoreImport"'],
  ['another kind', manifest({ top: { kind: 'Secret' } }), 'kind: must be "SecretsStoreImport", is "Secret"'],
  ['no metadata', manifest({ top: { metadata: undefined } }), 'metadata: required'],
  ['no namespace', manifest({ metadata: { namespace: undefined } }), 'metadata.namespace: required'],
  [
    'a namespace that is no DNS label',
    manifest({ metadata: { namespace: 'a.b' } }),
    'metadata.namespace: must match ^[a-z0-9]([-a-z0-9]*[a-z0-9])?$, is "a.b"',
  ],
  [
    'a name with capitals',
    manifest({ metadata: { name: 'Python' } }),
    /^metadata\.name: must match .*, is "Python"$/.source,
  ],
  [
    'a name too long',
    manifest({ metadata: { name: 'a'.repeat(254) } }),
    'metadata.name: must have at most 253 characters',
  ],
  ['no spec', manifest({ top: { spec: undefined } }), 'spec: required'],
  ['another type', manifest({ spec: { type: 'Env' } }), 'spec.type: must be "CSI", is "Env"'],
  ['no role', manifest({ spec: { role: undefined } }), 'spec.role: required'],
  ['an empty role', manifest({ spec: { role: '' } }), 'spec.role: must match ^[-_.a-zA-Z0-9]+$, is ""'],
  [
    'a role with a slash',
    manifest({ spec: { role: 'a/b' } }),
    'spec.role: must match ^[-_.a-zA-Z0-9]+$, is "a/b"',
  ],
  [
    'a role that YAML took for a number',
    manifest({ spec: { role: 83 } }),
    'spec.role: must be a string, is a number (83); put it in quotes',
  ],
  [
    'a role that YAML took for a boolean',
    manifest({ spec: { role: true } }),
    'spec.role: must be a string, is a boolean (true); put it in quotes',
  ],
  [
    'an unknown auth method',
    manifest({ spec: { authMethod: 'ldap' } }),
    'spec.authMethod: must be "kubernetes" or "jwt" or "approle", is "ldap"',
  ],
  [
    'AppRole without appRole',
    manifest({ spec: { authMethod: 'approle' } }),
    'spec.appRole: required with authMethod "approle"',
  ],
  [
    'appRole with another login',
    manifest({ spec: { appRole: { roleId: 'r', secretIdRef: { name: 'a', key: 'b' } } } }),
    'spec.appRole: needs authMethod "approle"',
  ],
  [
    'appRole without a secret ID',
    manifest({ spec: { authMethod: 'approle', appRole: { roleId: 'r' } } }),
    'spec.appRole.secretIdRef: required',
  ],
  [
    'a secret ID in place of where it stands',
    manifest({
      spec: {
        authMethod: 'approle',
        appRole: { roleId: 'r', secretId: 'x', secretIdRef: { name: 'a', key: 'b' } },
      },
    }),
    'spec.appRole.secretId: unknown field, did you mean secretIdRef? (known: roleId, secretIdRef)',
  ],
  [
    'an auth path with a space',
    manifest({ spec: { authPath: 'main kube' } }),
    'spec.authPath: must match ^[-_./A-Za-z0-9]+$, is "main kube"',
  ],
  [
    'an auth path that climbs',
    manifest({ spec: { authPath: '../sys' } }),
    'spec.authPath: must not have a segment "." or ".."',
  ],
  [
    'an empty Vault namespace',
    manifest({ spec: { namespace: '' } }),
    'spec.namespace: must match ^[-_./a-zA-Z0-9]+$, is ""',
  ],
  [
    'an address without a scheme',
    manifest({ spec: { address: 'vault:8200' } }),
    'spec.address: must be http://… or https://…',
  ],
  [
    'an address of another scheme',
    manifest({ spec: { address: 'file:///etc/passwd' } }),
    'spec.address: must be http://… or https://…',
  ],
  [
    'an address with a space',
    manifest({ spec: { address: 'https://vault /x' } }),
    'spec.address: must be http://… or https://…',
  ],
  [
    'an address with a query',
    manifest({ spec: { address: 'https://vault?x=1' } }),
    'spec.address: must not have a query or fragment',
  ],
  [
    'a CA that is no PEM',
    manifest({ spec: { caCert: 'MIIB' } }),
    'spec.caCert: holds no PEM certificate (-----BEGIN CERTIFICATE-----)',
  ],
  [
    'a CA cut short',
    manifest({ spec: { caCert: ca.replace(/\n\S{40}/, '\n') } }),
    'spec.caCert: certificate 1 of 1 cannot be parsed',
  ],
  [
    'a TLS name with a slash',
    manifest({ spec: { tlsServerName: 'a/b' } }),
    'spec.tlsServerName: must match ^[-a-zA-Z0-9.:]+$, is "a/b"',
  ],
  [
    'a boolean as text',
    manifest({ spec: { skipTLSVerify: 'true' } }),
    'spec.skipTLSVerify: must be a boolean, is a string',
  ],
  [
    'an interval without a unit',
    manifest({ spec: { refreshInterval: '30' } }),
    'spec.refreshInterval: must be a duration above 0 such as 30s, 2m or 1m30s, is "30"',
  ],
  [
    'an interval as a number',
    manifest({ spec: { refreshInterval: 30 } }),
    'spec.refreshInterval: must be a string, is a number (30); put it in quotes',
  ],
  [
    'an interval of nothing',
    manifest({ spec: { refreshInterval: '0s' } }),
    'spec.refreshInterval: must be a duration above 0 such as 30s, 2m or 1m30s, is "0s"',
  ],
  [
    'an unknown update mode',
    manifest({ spec: { updateMode: 'live' } }),
    'spec.updateMode: must be "Live" or "InPlace" or "Atomic", is "live"',
  ],
  [
    'an unknown missing policy',
    manifest({ spec: { missingPolicy: 'Skip' } }),
    'spec.missingPolicy: must be "Fail" or "Ignore", is "Skip"',
  ],
  [
    'a default mode out of range',
    manifest({ spec: { defaultMode: 644 } }),
    'spec.defaultMode: must be between 0 and 0777 (511 decimal), is 644; 644 without a leading zero is decimal, write 0644',
  ],
  [
    'no files',
    manifest({ spec: { files: [] } }),
    'spec.files: may be empty only when dataFrom or credentials is set',
  ],
  [
    'files left out',
    manifest({ spec: { files: undefined } }),
    'spec.files: may be empty only when dataFrom or credentials is set',
  ],
  ['files as an object', manifest({ spec: { files: {} } }), 'spec.files: must be a list, is an object'],
  [
    'a file that is a text',
    manifest({ spec: { files: ['a'] } }),
    'spec.files[0]: must be an object, is a string',
  ],
  ['a file without a name', manifest({ file: { name: undefined } }), 'spec.files[0].name: required'],
  [
    'a file name with a slash',
    manifest({ file: { name: 'a/b' } }),
    'spec.files[0].name: must match ^[-_a-zA-Z0-9.]+$, is "a/b"',
  ],
  [
    'the file name .',
    manifest({ file: { name: '.' } }),
    'spec.files[0].name: must not be "." or begin with "..", is "."',
  ],
  [
    'the file name ..',
    manifest({ file: { name: '..' } }),
    'spec.files[0].name: must not be "." or begin with "..", is ".."',
  ],
  [
    'the file name ..data',
    manifest({ file: { name: '..data' } }),
    'spec.files[0].name: must not be "." or begin with "..", is "..data"',
  ],
  [
    'a file name longer than Linux allows',
    manifest({ file: { name: 'a'.repeat(256) } }),
    'spec.files[0].name: must have at most 255 characters',
  ],
  [
    'a file name with a newline at its end',
    manifest({ file: { name: 'a\n' } }),
    'spec.files[0].name: must match ^[-_a-zA-Z0-9.]+$, is "a\\n"',
  ],
  ['no source', manifest({ file: { source: undefined } }), 'spec.files[0].source: required'],
  [
    'a path with a query',
    manifest({ source: { path: 'secret/data/app?version=1' } }),
    'spec.files[0].source.path: must match ^[-a-zA-Z0-9_./]+$, is "secret/data/app?version=1"',
  ],
  [
    'a path that climbs',
    manifest({ source: { path: 'secret/../sys/seal' } }),
    'spec.files[0].source.path: must not have a segment "." or ".."',
  ],
  ['a path of slashes', manifest({ source: { path: '//' } }), 'spec.files[0].source.path: must not be empty'],
  [
    'no key',
    manifest({ source: { key: undefined } }),
    'spec.files[0].source.key: required, unless the file has a template',
  ],
  [
    'a key with a space',
    manifest({ source: { key: 'my key' } }),
    'spec.files[0].source.key: must match ^[-a-zA-Z0-9_.]+$, is "my key"',
  ],
  [
    'an unknown encoding',
    manifest({ file: { encoding: 'base32' } }),
    'spec.files[0].encoding: must be "utf-8" or "base64" or "hex", is "base32"',
  ],
  [
    'decodeBase64 against another encoding',
    manifest({ file: { decodeBase64: true, encoding: 'hex' } }),
    'spec.files[0].decodeBase64: true contradicts encoding "hex", keep one',
  ],
  [
    'a mode that is no octal',
    manifest({ file: { mode: 'rw-' } }),
    'spec.files[0].mode: must be octal with a leading zero, such as "0400", is "rw-"',
  ],
  [
    'optional as a number',
    manifest({ file: { optional: 1 } }),
    'spec.files[0].optional: must be a boolean, is a number',
  ],
  [
    'an unknown top field',
    manifest({ top: { data: {} } }),
    'data: unknown field (known: apiVersion, kind, metadata, spec, status)',
  ],
  [
    'an unknown field of a source',
    manifest({ source: { keys: 'a' } }),
    'spec.files[0].source.keys: unknown field, did you mean key? (known: path, ref, key)',
  ],
  ['neither path nor ref', manifest({ source: { path: undefined } }), 'spec.files[0].source.path: required'],
  [
    'path and ref',
    manifest({ spec: { sources: [web] }, source: { ref: 'web' } }),
    'spec.files[0].source.ref: contradicts path, keep one',
  ],
  [
    'a ref to no source',
    manifest({ spec: { sources: [web] }, source: { path: undefined, ref: 'wbe' } }),
    'spec.files[0].source.ref: "wbe" is not among spec.sources (web)',
  ],
  [
    'a ref where there are no sources',
    manifest({ source: { path: undefined, ref: 'web' } }),
    'spec.files[0].source.ref: "web" is not among spec.sources (none)',
  ],
  [
    'a template and a key',
    manifest({ file: { template: 'x' } }),
    'spec.files[0].template: contradicts source.key, keep one',
  ],
  ['an empty template', manifest({ spec: templated('') }), 'spec.files[0].template: must not be empty'],
  [
    'a template of binary content',
    manifest({ spec: templated('{{ a }}', { encoding: 'hex' }) }),
    'spec.files[0].encoding: a template makes text; use its filter base64_decode instead',
  ],
  [
    'a template that does not close',
    manifest({ spec: templated('a\n{% if b %}\nc') }),
    'spec.files[0].template: tag {% if b %} not closed, line:2, col:1',
  ],
  [
    'a template with an unknown tag',
    manifest({ spec: templated('a\n\n  {% foo %}') }),
    'spec.files[0].template: tag "foo" not found, line:3, col:3',
  ],
  [
    'a template with an unknown filter',
    manifest({ spec: templated('{{ a | urlencode }}') }),
    'spec.files[0].template: undefined filter: urlencode, line:1, col:1',
  ],
  [
    'a template that reads a file',
    manifest({ spec: templated("{% include '/etc/passwd' %}") }),
    'spec.files[0].template: tag "include" reads a file, which a template here cannot, line:1, col:1',
  ],
  [
    'data with GET',
    manifest({ spec: { sources: [{ ...web, method: 'GET' }] } }),
    'spec.sources[0].data: needs method "PUT" or "POST"',
  ],
  [
    'a version with PUT',
    manifest({ spec: { sources: [{ ...web, version: 2 }] } }),
    'spec.sources[0].version: needs method "GET"',
  ],
  [
    'a version below 0',
    manifest({ spec: { sources: [{ name: 'old', path: 'kv/data/a', version: -1 }] } }),
    'spec.sources[0].version: must be 0 or more, is -1',
  ],
  [
    'an unknown method',
    manifest({ spec: { sources: [{ ...web, method: 'LIST' }] } }),
    'spec.sources[0].method: must be "GET" or "PUT" or "POST", is "LIST"',
  ],
  [
    'a lease renewed after its end',
    manifest({ spec: { sources: [{ ...web, lease: { renewAt: 100 } }] } }),
    'spec.sources[0].lease.renewAt: must be 99 or less, is 100',
  ],
  [
    'an unknown field of a lease',
    manifest({ spec: { sources: [{ ...web, lease: { revoke: true } }] } }),
    'spec.sources[0].lease.revoke: unknown field (known: renewAt, revokeOnUnmount)',
  ],
  [
    'an unknown field of a source of several files',
    manifest({ spec: { sources: [{ ...web, methd: 'PUT' }] } }),
    'spec.sources[0].methd: unknown field, did you mean method? (known: name, path, method, data, version, lease)',
  ],
  [
    "the name that stands for a file's own source",
    manifest({ spec: { sources: [{ ...web, name: 'data' }] } }),
    'spec.sources[0].name: "data" is what templates call the file\'s own source',
  ],
  [
    'a source name twice',
    manifest({ spec: { sources: [web, web] } }),
    'spec.sources[1].name: "web" is already the name of spec.sources[0]',
  ],
  [
    'a source name that no template could name',
    manifest({ spec: { sources: [{ ...web, name: 'a.b' }] } }),
    'spec.sources[0].name: must match ^[-_a-zA-Z0-9]+$, is "a.b"',
  ],
  [
    'one file of all keys without a name',
    manifest({ spec: { dataFrom: [{ path: 'a', format: 'Shell' }] } }),
    'spec.dataFrom[0].fileName: required with format "Shell"',
  ],
  [
    'a file for each key with a name',
    manifest({ spec: { dataFrom: [{ path: 'a', fileName: 'env' }] } }),
    'spec.dataFrom[0].fileName: has no meaning with format "Files"',
  ],
  [
    'an unknown format',
    manifest({ spec: { dataFrom: [{ path: 'a', fileName: 'env', format: 'Env' }] } }),
    'spec.dataFrom[0].format: must be "Files" or "JSON" or "Dotenv" or "Shell" or "Properties", is "Env"',
  ],
  [
    'a pattern that is none',
    manifest({ spec: { dataFrom: [{ path: 'a', include: '(' }] } }),
    'spec.dataFrom[0].include: must be a JavaScript regular expression, is "("',
  ],
  [
    'a pattern of what to leave out that is none',
    manifest({ spec: { dataFrom: [{ path: 'a', exclude: '*' }] } }),
    'spec.dataFrom[0].exclude: must be a JavaScript regular expression, is "*"',
  ],
  [
    'a prefix with a slash',
    manifest({ spec: { dataFrom: [{ path: 'a', prefix: 'b/' }] } }),
    'spec.dataFrom[0].prefix: must match ^[-_a-zA-Z0-9.]*$, is "b/"',
  ],
  [
    'a file of all keys over a file',
    manifest({ spec: { dataFrom: [{ path: 'a', format: 'JSON', fileName: 'db-password' }] } }),
    'spec.dataFrom[0].fileName: "db-password" is already the name of spec.files[0]',
  ],
  [
    'a credential over a file of all keys',
    manifest({
      spec: {
        dataFrom: [{ path: 'a', format: 'JSON', fileName: 'x' }],
        credentials: [{ format: 'Token', name: 'x' }],
      },
    }),
    'spec.credentials[0].name: "x" is already the name of spec.dataFrom[0]',
  ],
  [
    'an unknown credential',
    manifest({ spec: { credentials: [{ format: 'JWT', name: 'x' }] } }),
    'spec.credentials[0].format: must be "Token" or "KubernetesVaultToken" or "SecretID" or "WrappedSecretID" or "CABundle", is "JWT"',
  ],
  [
    'a credential with a source',
    manifest({ spec: { credentials: [{ format: 'Token', name: 'x', source: {} }] } }),
    'spec.credentials[0].source: unknown field (known: format, name, mode, role, authPath)',
  ],
  [
    'a Secret of no file',
    manifest({ spec: { secretSync: [{ name: 'app', data: [{ key: 'A', file: 'password' }] }] } }),
    'spec.secretSync[0].data[0].file: "password" is not among the files of the import',
  ],
  [
    'a Secret of nothing',
    manifest({ spec: { secretSync: [{ name: 'app', data: [] }] } }),
    'spec.secretSync[0].data: must not be empty',
  ],
  [
    'a Secret twice',
    manifest({ spec: { secretSync: [synced, synced] } }),
    'spec.secretSync[1].name: "app" is already the name of spec.secretSync[0]',
  ],
  [
    'a Secret with a bad name',
    manifest({ spec: { secretSync: [{ ...synced, name: 'App' }] } }),
    /^spec\.secretSync\[0\]\.name: must match .*, is "App"$/.source,
  ],
  [
    'an unknown deletion policy',
    manifest({ spec: { secretSync: [{ ...synced, deletionPolicy: 'Keep' }] } }),
    'spec.secretSync[0].deletionPolicy: must be "Delete" or "Retain", is "Keep"',
  ],
  ...['sources', 'dataFrom', 'credentials', 'secretSync'].map((field): [string, unknown, string] => [
    `${field} as an object`,
    manifest({ spec: { [field]: {} } }),
    `spec.${field}: must be a list, is an object`,
  ]),
]

for (const [what, value, message] of bad) {
  t.test(`refused: ${what}`, async (t) => {
    const faults = faultsOf(value)
    t.ok(
      faults.includes(message) ||
        faults.some((fault) => message.startsWith('^') && new RegExp(message).test(fault)),
      `wanted ${message}, got ${faults.join(' | ')}`,
    )
  })
}

t.test('one mistake is one fault', async (t) => {
  const roots = /^the manifest|^spec: required|AppRole/
  for (const [what, value, message] of bad) {
    if (!roots.test(message)) t.equal(faultsOf(value).length, 1, what)
  }
})

t.test('all faults are reported at once, in the order of the fields', async (t) => {
  const faults = faultsOf({
    apiVersion: 'deckhouse.io/v1alpha1',
    kind: 'SecretsStoreImport',
    metadata: { name: 'a' },
    spec: {
      roel: 'backend',
      updateMode: 'Sometimes',
      files: [
        { name: 'a', source: { path: 'secret/data/app', key: 'a' } },
        { name: 'a', decodeBase64: true, encoding: 'hex', source: { path: 'secret/data/app', key: '' } },
      ],
    },
  })
  t.same(
    faults.map((fault) => fault.replace(/:.*/, '')),
    [
      'metadata.namespace',
      'spec.role',
      'spec.updateMode',
      'spec.files[1].source.key',
      'spec.roel',
      'spec.files[1].decodeBase64',
      'spec.files[1].name',
    ],
  )
  t.match(faults[4], /^spec\.roel: unknown field, did you mean role\? \(known: type, role, .*secretSync\)$/)
  t.equal(faults[6], 'spec.files[1].name: "a" is already the name of spec.files[0]')
})

t.test('a password in an address, or a key in a CA, is refused without being repeated', async (t) => {
  const key = createCertificateAuthority().issue(['x']).key
  const faults = faultsOf(
    manifest({ spec: { address: 'https://me:canary@vault:8200', caCert: `${ca}${key}` } }),
  )
  t.same(faults, [
    'spec.address: must not hold a user name or password',
    'spec.caCert: holds a private key, wants certificates only',
  ])
})

t.test('names from the prototype of objects are ordinary unknown fields', async (t) => {
  const value = JSON.parse(
    '{"apiVersion":"deckhouse.io/v1alpha1","kind":"SecretsStoreImport","metadata":{"name":"a","namespace":"b"},"spec":{"__proto__":{"role":"x"},"constructor":1,"files":[]}}',
  )
  t.ok(faultsOf(value).some((fault) => fault.startsWith('spec.role: required')))
  t.ok(faultsOf(value).some((fault) => fault.startsWith('spec.constructor: unknown field')))
})

t.test('an invalid manifest still identifies its import', async (t) => {
  t.same(identifyImport(manifest({ spec: { role: 3 } })), {
    namespace: 'my-namespace1',
    name: 'python-backend',
  })
  for (const value of [
    null,
    'x',
    {},
    { metadata: { name: 'a' } },
    { metadata: { name: 1, namespace: 'b' } },
  ]) {
    t.equal(identifyImport(value), undefined)
  }
})

t.test('caCertRef refers to an object in the namespace', async (t) => {
  const ref = { kind: 'Secret', name: 'vault-ca', key: 'ca.crt' }
  t.match(parseImport(manifest({ spec: { caCertRef: ref } })), {
    spec: { caCertRef: ref, caCert: undefined },
  })
  const faults = faultsOf(manifest({ spec: { caCert: ca, caCertRef: { ...ref, kind: 'Pod', where: 1 } } }))
  t.match(faults.join('\n'), /spec\.caCertRef: contradicts spec\.caCert, keep one/)
  t.match(faults.join('\n'), /spec\.caCertRef\.kind/)
  t.match(faults.join('\n'), /spec\.caCertRef\.where.*kind, name, key/)
})

t.test('every new field is parsed', async (t) => {
  const spec = specOf(
    manifest({
      spec: {
        authMethod: 'approle',
        appRole: { roleId: 'r', secretIdRef: { name: 'app-role', key: 'secret-id' } },
        sources: [
          { ...web, lease: { renewAt: 50, revokeOnUnmount: false } },
          { name: 'old', path: 'secret/data/app', version: 3 },
          { name: 'unused', path: 'secret/data/other' },
        ],
        files: [
          { name: 'tls.key', source: { ref: 'web', key: 'private_key' } },
          {
            name: 'dsn',
            source: { path: 'secret/data/db' },
            template: '{{ user }}{{ web.certificate }}{% for one in old.list %}{{ one }}{% endfor %}',
          },
        ],
        dataFrom: [
          { path: '/secret//data/app/', include: '^A', exclude: '', format: 'Files', fileName: '' },
          { path: 'secret/data/env', prefix: 'X_', format: 'Shell', fileName: 'app.env' },
        ],
        credentials: [
          { format: 'Token', name: 'token', mode: '0400' },
          { format: 'SecretID', name: 'secret-id', role: 'other', authPath: 'approle2' },
        ],
        secretSync: [{ name: 'app', data: [{ key: 'A', file: 'any-key-of-dataFrom' }] }],
      },
    }),
  )
  t.strictSame(spec.appRole, { roleId: 'r', secretIdRef: { name: 'app-role', key: 'secret-id' } })
  const [key, dsn] = spec.files
  t.match(key?.call, {
    path: 'pki/issue/web',
    method: 'PUT',
    isIssued: true,
    renewAt: 50,
    revokeOnUnmount: false,
  })
  t.match(dsn, { key: undefined, call: { key: 'secret/data/db', isIssued: false } })
  t.strictSame(
    dsn?.named.map(({ name, call }) => [name, call.key]),
    [
      ['web', key?.call.key],
      ['old', 'secret/data/app?version=3'],
    ],
  )
  t.match(spec.dataFrom[0], {
    call: { path: 'secret/data/app' },
    prefix: '',
    include: '^A',
    exclude: undefined,
  })
  t.match(spec.dataFrom[1], { prefix: 'X_', format: 'Shell', fileName: 'app.env' })
  t.strictSame(spec.credentials, [
    { format: 'Token', name: 'token', mode: 0o400, role: 'my-namespace1_backend', authPath: 'approle' },
    { format: 'SecretID', name: 'secret-id', mode: undefined, role: 'other', authPath: 'approle2' },
  ])
  t.strictSame(spec.secretSync, [
    {
      name: 'app',
      type: 'Opaque',
      deletionPolicy: 'Delete',
      data: [{ key: 'A', file: 'any-key-of-dataFrom' }],
    },
  ])
})

t.test('an import may have only dataFrom or only credentials', async (t) => {
  t.strictSame(specOf(manifest({ spec: { files: undefined, dataFrom: [{ path: 'a' }] } })).files, [])
  t.strictSame(
    specOf(manifest({ spec: { files: [], credentials: [{ format: 'CABundle', name: 'ca' }] } })).files,
    [],
  )
})

t.test('null in the data of a source is kept', async (t) => {
  const spec = specOf(
    manifest({
      spec: {
        sources: [{ ...web, data: { a: null, b: { c: null } }, version: null }],
        files: [{ name: 'f', source: { ref: 'web', key: 'a' } }],
      },
    }),
  )
  t.strictSame(spec.files[0]?.call.data, { a: null, b: { c: null } })
})
