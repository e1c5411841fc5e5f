import { fileOf, type Spec, sourceOf } from './bad-imports.ts'

const change = (what: object) => (spec: Spec) => void Object.assign(spec, what)
const sources = (...list: object[]) => change({ sources: list })
const credential = (what: object) => change({ credentials: [{ name: 'token', format: 'Token', ...what }] })
const secret = (what: object) =>
  change({
    secretSync: [{ name: 'app', data: [{ key: 'PASSWORD', file: 'db-password' }], ...what }],
  })
/** The first file made by a template. */
const template = (what: object) => (spec: Spec) => {
  delete sourceOf(spec).key
  Object.assign(fileOf(spec), { template: '{{ user }}', ...what })
}

/** Mistakes in named sources, templates, dataFrom, credentials and synced Secrets. */
export const badFeatures: [string, (spec: Spec) => void, RegExp][] = [
  ...badSources(),
  ...badTemplates(),
  ...badDataFrom(),
  ...badCredentials(),
  ...badSecrets(),
]

function badSources(): typeof badFeatures {
  return [
    ['data with GET', sources({ name: 'w', path: 'a', data: { a: 1 } }), /data needs method PUT or POST/],
    [
      'data with a GET that is written down',
      sources({ name: 'w', path: 'a', method: 'GET', data: {} }),
      /sources\[0\]\.data.*data needs method PUT or POST/,
    ],
    [
      'a version with PUT',
      sources({ name: 'w', path: 'a', method: 'PUT', version: 2 }),
      /version needs method GET/,
    ],
    [
      'an unknown method',
      sources({ name: 'w', path: 'a', method: 'LIST' }),
      /method: Unsupported value: "LIST": supported values: "GET", "PUT", "POST"/,
    ],
    [
      'a lease renewed after its end',
      sources({ name: 'w', path: 'a', lease: { renewAt: 120 } }),
      /renewAt.*should be less than or equal to 99/,
    ],
    [
      'a source name twice',
      sources({ name: 'w', path: 'a' }, { name: 'w', path: 'b' }),
      /sources\[1\]: Duplicate value: \{"name":"w"\}/,
    ],
    [
      'a source called as templates call the own one',
      sources({ name: 'data', path: 'a' }),
      /sources\[0\]\.name.*"data" is what templates call the file's own source/,
    ],
    ['a source name with a dot', sources({ name: 'a.b', path: 'a' }), /sources\[0\]\.name.*should match/],
    ['a source without path', sources({ name: 'w' }), /sources\[0\]\.path: Required value/],
    [
      'a ref to another source than those that are there',
      (s) => {
        Object.assign(s, { sources: [{ name: 'web', path: 'a' }] })
        Object.assign(fileOf(s), { source: { ref: 'wbe', key: 'k' } })
      },
      /source\.ref of a file must be the name of one of spec\.sources/,
    ],
  ]
}

function badTemplates(): typeof badFeatures {
  const makesText = /encoding.*a template makes text; use its filter base64_decode instead/
  return [
    ['a template with decodeBase64', template({ decodeBase64: true }), makesText],
    ['a template with encoding base64', template({ encoding: 'base64' }), makesText],
    ['a template with encoding hex', template({ encoding: 'hex' }), makesText],
    ['an empty template', template({ template: '' }), /template.*should be at least 1 chars long/],
  ]
}

function badDataFrom(): typeof badFeatures {
  const dataFrom = (...list: object[]) => change({ dataFrom: list })
  const json = { path: 'a', format: 'JSON' }
  return [
    [
      'JSON without file name',
      dataFrom(json),
      /fileName is required with format JSON, Dotenv, Shell or Properties/,
    ],
    [
      'a file name without format',
      dataFrom({ path: 'a', fileName: 'env' }),
      /fileName is required with format .* and with no other/,
    ],
    [
      'an unknown format',
      dataFrom({ path: 'a', format: 'YAML', fileName: 'a' }),
      /dataFrom\[0\]\.format: Unsupported value: "YAML"/,
    ],
    [
      'a file name of dataFrom that is "..data"',
      dataFrom({ ...json, fileName: '..data' }),
      /dataFrom\[0\]\.fileName.*must not be "\." or begin with "\.\."/,
    ],
    ['a prefix with a slash', dataFrom({ path: 'a', prefix: 'a/' }), /dataFrom\[0\]\.prefix.*should match/],
    [
      'a dataFrom over a file',
      dataFrom({ ...json, fileName: 'db-password' }),
      /fileName of dataFrom must not be the name of a file or credential/,
    ],
    [
      'a dataFrom over a credential',
      change({
        dataFrom: [{ ...json, fileName: 'token' }],
        credentials: [{ name: 'token', format: 'Token' }],
      }),
      /fileName of dataFrom must not be the name of a file or credential/,
    ],
    [
      'two of dataFrom in one file',
      dataFrom({ ...json, fileName: 'all' }, { path: 'b', format: 'Dotenv', fileName: 'all' }),
      /fileName of dataFrom must not be used twice/,
    ],
  ]
}

function badCredentials(): typeof badFeatures {
  return [
    [
      'a credential in an unknown format',
      credential({ format: 'JWT' }),
      /credentials\[0\]\.format: Unsupported value: "JWT"/,
    ],
    [
      'a credential over a file',
      credential({ name: 'db-password' }),
      /a credential must not have the name of a file/,
    ],
    [
      'two credentials in one file',
      change({
        credentials: [
          { name: 'token', format: 'Token' },
          { name: 'token', format: 'CABundle' },
        ],
      }),
      /credentials\[1\]: Duplicate value: \{"name":"token"\}/,
    ],
    [
      'a role of a token',
      credential({ role: 'app' }),
      /credentials\[0\]\.role.*role needs format SecretID or WrappedSecretID/,
    ],
    [
      'an auth mount of a CA',
      credential({ format: 'CABundle', authPath: 'approle' }),
      /credentials\[0\]\.authPath.*authPath needs format SecretID or WrappedSecretID/,
    ],
    [
      'a role of a secret ID with a slash',
      credential({ format: 'SecretID', role: 'a/b' }),
      /credentials\[0\]\.role.*should match/,
    ],
    [
      'an auth mount of a secret ID that climbs',
      credential({ format: 'SecretID', authPath: 'a/../b' }),
      /credentials\[0\]\.authPath.*segment "\." or "\.\."/,
    ],
  ]
}

function badSecrets(): typeof badFeatures {
  const certificate = { key: 'tls.crt', file: 'db-password' }
  return [
    ['a Secret of nothing', secret({ data: [] }), /secretSync\[0\]\.data.*should have at least 1 items/],
    ['a Secret with a bad name', secret({ name: 'A_B' }), /secretSync\[0\]\.name.*should match/],
    ['a Secret with a name of empty labels', secret({ name: 'a..b' }), /secretSync\[0\]\.name.*should match/],
    [
      'a Secret of an empty type',
      secret({ type: '' }),
      /secretSync\[0\]\.type.*should be at least 1 chars long/,
    ],
    [
      'an unknown deletion policy',
      secret({ deletionPolicy: 'Keep' }),
      /deletionPolicy: Unsupported value: "Keep": supported values: "Delete", "Retain"/,
    ],
    [
      'a Secret of a file that is not there',
      secret({ data: [{ key: 'PASSWORD', file: 'db-pasword' }] }),
      /file of secretSync must be among the files of the import/,
    ],
    [
      'a Secret of a file that is not there, beside a dataFrom of one file',
      change({
        dataFrom: [{ path: 'a', format: 'JSON', fileName: 'all' }],
        secretSync: [{ name: 'app', data: [{ key: 'PASSWORD', file: 'PASSWORD' }] }],
      }),
      /file of secretSync must be among the files of the import/,
    ],
    [
      'a Secret of a file that nothing can be called',
      change({
        dataFrom: [{ path: 'a' }],
        secretSync: [{ name: 'app', data: [{ key: 'PASSWORD', file: '..data' }] }],
      }),
      /data\[0\]\.file.*must not be "\." or begin with "\.\."/,
    ],
    [
      'a key of a Secret twice',
      secret({ data: [certificate, certificate] }),
      /data\[1\]: Duplicate value: \{"key":"tls\.crt"\}/,
    ],
    [
      'a certificate without key',
      secret({ type: 'kubernetes.io/tls', data: [certificate] }),
      /secretSync\[0\]\.data.*type kubernetes\.io\/tls needs the keys tls\.crt and tls\.key/,
    ],
    [
      'registry credentials under another key',
      secret({ type: 'kubernetes.io/dockerconfigjson' }),
      /secretSync\[0\]\.data.*type kubernetes\.io\/dockerconfigjson needs the key \.dockerconfigjson/,
    ],
    [
      'old registry credentials under another key',
      secret({ type: 'kubernetes.io/dockercfg' }),
      /type kubernetes\.io\/dockercfg needs the key \.dockercfg/,
    ],
    [
      'an SSH key under another key',
      secret({ type: 'kubernetes.io/ssh-auth' }),
      /type kubernetes\.io\/ssh-auth needs the key ssh-privatekey/,
    ],
    [
      'a basic login without a name and a password',
      secret({ type: 'kubernetes.io/basic-auth' }),
      /type kubernetes\.io\/basic-auth needs the key username or password/,
    ],
    [
      'a token of a service account',
      secret({ type: 'kubernetes.io/service-account-token' }),
      /secretSync\[0\]\.type.*this type is never made from an import/,
    ],
  ]
}
