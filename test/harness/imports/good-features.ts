import { certificate, fileOf, type Spec } from './bad-imports.ts'

const change = (what: object) => (spec: Spec) => void Object.assign(spec, what)
const file = { name: 'db-password', source: { path: 'secret/data/app', key: 'password' } }
const json = { path: 'secret/data/app', format: 'JSON', fileName: 'app.json' }

/** Each thing that an import can ask for beside files of a path and a key. */
export const goodFeatures: [string, (spec: Spec) => void][] = [
  [
    'a certificate and its key of one issue',
    change({
      sources: [
        { name: 'web', path: 'pki/issue/web', method: 'PUT', data: { common_name: 'web.example.org' } },
      ],
      files: [
        { name: 'tls.crt', source: { ref: 'web', key: 'certificate' } },
        { name: 'tls.key', source: { ref: 'web', key: 'private_key' }, mode: '0400' },
      ],
    }),
  ],
  [
    'data of every kind',
    change({
      sources: [{ name: 'w', path: 'a', method: 'POST', data: { a: [1, { b: true }], 'c-d': '' } }],
    }),
  ],
  ['a version', change({ sources: [{ name: 'old', path: 'secret/data/app', version: 3 }] })],
  ['version 0 with PUT', change({ sources: [{ name: 'w', path: 'a', method: 'PUT', version: 0 }] })],
  [
    'a lease',
    change({
      sources: [{ name: 'db', path: 'database/creds/app', lease: { renewAt: 50, revokeOnUnmount: false } }],
    }),
  ],
  ['an empty lease', change({ sources: [{ name: 'db', path: 'database/creds/app', lease: {} }] })],
  [
    'a template',
    (s) => {
      Object.assign(fileOf(s), { source: { path: 'secret/data/db' }, template: '{{ user | url_encode }}' })
    },
  ],
  [
    'a template with encoding utf-8',
    (s) => {
      const text = { template: '{{ user }}', encoding: 'utf-8', decodeBase64: false }
      Object.assign(fileOf(s), { source: { path: 'secret/data/db' }, ...text })
    },
  ],
  [
    'a template of several sources',
    change({
      sources: [{ name: 'web', path: 'secret/data/web' }],
      files: [{ name: 'all', source: { ref: 'web' }, template: '{{ web.a }}{{ data["my-key"] }}' }],
    }),
  ],
  [
    'every key as a file',
    change({ files: [], dataFrom: [{ path: 'secret/data/app', include: '^[A-Z_]+$' }] }),
  ],
  ['two paths as files', change({ dataFrom: [{ path: 'a' }, { path: 'b', prefix: 'b-', fileName: '' }] })],
  ...['JSON', 'Dotenv', 'Shell', 'Properties'].map((format): [string, (spec: Spec) => void] => [
    `every key in a file of format ${format}`,
    change({ dataFrom: [{ ...json, format }] }),
  ]),
  ...['Token', 'KubernetesVaultToken', 'SecretID', 'WrappedSecretID', 'CABundle'].map(
    (format): [string, (spec: Spec) => void] => [
      `only a credential of format ${format}`,
      change({ files: [], credentials: [{ format, name: 'credential', mode: 0o400 }] }),
    ],
  ),
  ...['SecretID', 'WrappedSecretID'].map((format): [string, (spec: Spec) => void] => [
    `the ${format} of another role and mount`,
    change({ credentials: [{ format, name: 'id', role: 'batch', authPath: 'clusters/approle' }] }),
  ]),
  ['a Secret', change({ secretSync: [{ name: 'app', data: [{ key: 'PASSWORD', file: 'db-password' }] }] })],
  [
    'a Secret that stays',
    change({
      secretSync: [
        { name: 'app.v1', deletionPolicy: 'Retain', data: [{ key: 'PASSWORD', file: 'db-password' }] },
      ],
    }),
  ],
  [
    'a Secret of a credential and of a dataFrom',
    change({
      dataFrom: [json],
      credentials: [{ format: 'CABundle', name: 'ca.crt' }],
      secretSync: [
        {
          name: 'app',
          data: [
            { key: 'ca.crt', file: 'ca.crt' },
            { key: 'app.json', file: 'app.json' },
          ],
        },
      ],
    }),
  ],
  [
    'a Secret of files that only Vault knows',
    change({
      dataFrom: [{ path: 'secret/data/app' }],
      secretSync: [{ name: 'app', data: [{ key: 'PASSWORD', file: 'PASSWORD' }] }],
    }),
  ],
  [
    'a Secret of a certificate',
    change({
      files: [
        { ...file, name: 'tls.crt' },
        { ...file, name: 'tls.key' },
      ],
      secretSync: [
        {
          name: 'web',
          type: 'kubernetes.io/tls',
          data: ['tls.crt', 'tls.key'].map((name) => ({ key: name, file: name })),
        },
      ],
    }),
  ],
  [
    'a Secret of registry credentials',
    change({
      secretSync: [
        {
          name: 'registry',
          type: 'kubernetes.io/dockerconfigjson',
          data: [{ key: '.dockerconfigjson', file: 'db-password' }],
        },
      ],
    }),
  ],
  [
    'AppRole',
    change({
      authMethod: 'approle',
      appRole: { roleId: '4f1a', secretIdRef: { name: 'app-role', key: 'secret-id' } },
    }),
  ],
  ['a CA in a ConfigMap', change({ caCertRef: { kind: 'ConfigMap', name: 'vault-ca', key: 'ca.crt' } })],
  ['a CA here and an empty list there', change({ caCert: certificate, sources: [], secretSync: [] })],
]
