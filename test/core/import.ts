import t from 'tap'
import { identifyImport, parseImport } from '../../src/core/import.ts'
import { createCertificateAuthority } from '../support/certificates.ts'

type Tree = Record<string, unknown>

const ca = createCertificateAuthority().certificate

/** A good manifest with changes: spec, first file and its source are merged, the rest replaces. */
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
    role: 'my-namespace1_backend',
    authPath: undefined,
    vaultNamespace: undefined,
    address: undefined,
    caCert: undefined,
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
        path: 'secret/data/app',
        key: 'password',
        encoding: 'utf-8',
        mode: undefined,
        optional: false,
      },
    ],
  })
})

t.test('every field arrives where it belongs', async (t) => {
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
  t.match(spec.files[0], { path: 'kv1/app', encoding: 'hex', mode: 0o400, optional: true })
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

t.test('a field that is null, or empty where that means nothing, is a field left out', async (t) => {
  const spec = specOf(
    manifest({
      spec: { authPath: null, refreshInterval: null, caCert: '', audience: '', tlsServerName: '' },
      file: { mode: null, encoding: null },
    }),
  )
  t.match(spec, { authPath: undefined, caCert: undefined, audience: undefined, tlsServerName: undefined })
  t.equal(spec.files[0]?.mode, undefined)
})

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
    'spec.authMethod: must be "kubernetes" or "jwt", is "ldap"',
  ],
  [
    'AppRole',
    manifest({ spec: { authMethod: 'approle' } }),
    'spec.authMethod: "approle" is not supported by this version, use "kubernetes" or "jwt"',
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
  ['no files', manifest({ spec: { files: [] } }), 'spec.files: must not be empty'],
  ['files left out', manifest({ spec: { files: undefined } }), 'spec.files: required'],
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
  ['no path', manifest({ source: { path: undefined } }), 'spec.files[0].source.path: required'],
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
  ['no key', manifest({ source: { key: undefined } }), 'spec.files[0].source.key: required'],
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
    'spec.files[0].source.keys: unknown field, did you mean key? (known: path, key)',
  ],
  [
    'a template',
    manifest({ file: { template: 'x' } }),
    'spec.files[0].template: not supported by this version',
  ],
  [
    'a named source',
    manifest({ source: { ref: 'web' } }),
    'spec.files[0].source.ref: not supported by this version',
  ],
  ...['appRole', 'sources', 'dataFrom', 'credentials', 'secretSync'].map(
    (field): [string, unknown, string] => [
      field,
      manifest({ spec: { [field]: [] } }),
      `spec.${field}: not supported by this version`,
    ],
  ),
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

t.test('all faults are told at once, in order of the fields', async (t) => {
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
      'spec.files[1].name',
      'spec.files[1].decodeBase64',
    ],
  )
  t.match(faults[4], /^spec\.roel: unknown field, did you mean role\? \(known: type, role, .*files\)$/)
  t.equal(faults[5], 'spec.files[1].name: "a" is already the name of spec.files[0]')
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

t.test('a faulty manifest still says which import it is', async (t) => {
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

t.test('a CA may stand in an object of the namespace instead', async (t) => {
  const ref = { kind: 'Secret', name: 'vault-ca', key: 'ca.crt' }
  t.match(parseImport(manifest({ spec: { caCertRef: ref } })), {
    spec: { caCertRef: ref, caCert: undefined },
  })
  const faults = faultsOf(manifest({ spec: { caCert: ca, caCertRef: { ...ref, kind: 'Pod', where: 1 } } }))
  t.match(faults.join('\n'), /spec\.caCertRef: contradicts spec\.caCert, keep one/)
  t.match(faults.join('\n'), /spec\.caCertRef\.kind/)
  t.match(faults.join('\n'), /spec\.caCertRef\.where.*kind, name, key/)
})
