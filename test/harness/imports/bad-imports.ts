import type { ImportManifest } from '../cluster/manifests.ts'
import { createCertificateAuthority } from '../pki/certificates.ts'

export type Spec = ImportManifest['spec']

/** PEM. */
export const certificate = createCertificateAuthority().certificate

const privateKey = '-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----'

export const fileOf = (spec: Spec) => spec.files[0] ?? {}
export const sourceOf = (spec: Spec) => fileOf(spec).source as Record<string, unknown>

/** Mistakes in an import, and the API server's answer to each. */
export const badImports: [string, (spec: Spec) => void, RegExp][] = [
  ['no role', (s) => delete s.role, /spec\.role: Required value/],
  ['an empty role', (s) => Object.assign(s, { role: '' }), /spec\.role.*should be at least 1 chars long/],
  [
    'a role with a slash',
    (s) => Object.assign(s, { role: 'a/b' }),
    /spec\.role.*should match '\^\[-_\.a-zA-Z0-9\]\+\$'/,
  ],
  [
    'another type',
    (s) => Object.assign(s, { type: 'Env' }),
    /spec\.type: Unsupported value: "Env": supported values: "CSI"/,
  ],
  ['an unknown field', (s) => Object.assign(s, { rol: 'x' }), /unknown field "spec\.rol"/],
  [
    'an unknown field of a source',
    (s) => Object.assign(sourceOf(s), { kay: 'x' }),
    /unknown field "spec\.files\[0\]\.source\.kay"/,
  ],
  [
    'no files',
    (s) => Object.assign(s, { files: [] }),
    /files may be empty only when dataFrom or credentials is set/,
  ],
  [
    'no field files',
    (s) => Reflect.deleteProperty(s, 'files'),
    /files may be empty only when dataFrom or credentials is set/,
  ],
  [
    'a file name ".."',
    (s) => Object.assign(fileOf(s), { name: '..' }),
    /files\[0\]\.name.*must not be "\." or begin with "\.\."/,
  ],
  [
    'a file name "..data"',
    (s) => Object.assign(fileOf(s), { name: '..data' }),
    /must not be "\." or begin with "\.\."/,
  ],
  [
    'a file name with a slash',
    (s) => Object.assign(fileOf(s), { name: 'a/b' }),
    /files\[0\]\.name.*should match/,
  ],
  [
    'a file name too long for Linux',
    (s) => Object.assign(fileOf(s), { name: 'a'.repeat(256) }),
    /files\[0\]\.name: Too long: may not be more than 255/,
  ],
  [
    'a file name that is a number',
    (s) => Object.assign(fileOf(s), { name: 7 }),
    /files\[0\]\.name.*must be of type string/,
  ],
  [
    'a file name twice',
    (s) => s.files.push({ ...fileOf(s) }),
    /spec\.files\[1\]: Duplicate value: \{"name":"db-password"\}/,
  ],
  ['a file without source', (s) => delete fileOf(s).source, /files\[0\]\.source: Required value/],
  [
    'a source without path',
    (s) => delete sourceOf(s).path,
    /files\[0\]\.source.*exactly one of path and ref must be given/,
  ],
  [
    'a source with path and ref',
    (s) => Object.assign(sourceOf(s), { ref: 'web' }),
    /exactly one of path and ref must be given/,
  ],
  [
    'a ref to no source',
    (s) => Object.assign(fileOf(s), { source: { ref: 'web', key: 'k' } }),
    /source\.ref of a file must be the name of one of spec\.sources/,
  ],
  [
    'a source without key',
    (s) => delete sourceOf(s).key,
    /exactly one of source\.key and template must be given/,
  ],
  [
    'a key and a template',
    (s) => Object.assign(fileOf(s), { template: '{{ a }}' }),
    /exactly one of source\.key and template must be given/,
  ],
  [
    'a path that climbs',
    (s) => Object.assign(sourceOf(s), { path: 'secret/../sys/seal' }),
    /source\.path.*segment "\." or "\.\."/,
  ],
  [
    'a path with a blank',
    (s) => Object.assign(sourceOf(s), { path: 'secret/data/my app' }),
    /source\.path.*should match/,
  ],
  ['a key with a slash', (s) => Object.assign(sourceOf(s), { key: 'a/b' }), /source\.key.*should match/],
  [
    'decodeBase64 with hex',
    (s) => Object.assign(fileOf(s), { decodeBase64: true, encoding: 'hex' }),
    /decodeBase64 contradicts encoding, keep one/,
  ],
  [
    'decodeBase64 as text',
    (s) => Object.assign(fileOf(s), { decodeBase64: 'yes' }),
    /decodeBase64.*must be of type boolean/,
  ],
  [
    'an unknown encoding',
    (s) => Object.assign(fileOf(s), { encoding: 'base32' }),
    /encoding: Unsupported value: "base32": supported values: "utf-8", "base64", "hex"/,
  ],
  [
    'a mode in decimal',
    (s) => Object.assign(fileOf(s), { mode: 644 }),
    /mode.*must be between 0 and 0777, such as 0400 .*without a leading zero it is decimal/,
  ],
  [
    'a mode that is not a number',
    (s) => Object.assign(fileOf(s), { mode: 'rw-' }),
    /mode.*should match '\^0o\?\[0-7\]\{1,3\}\$'/,
  ],
  [
    'a default mode with setuid',
    (s) => Object.assign(s, { defaultMode: 0o4755 }),
    /defaultMode.*should be less than or equal to 511/,
  ],
  [
    'an address without scheme',
    (s) => Object.assign(s, { address: 'vault:8200' }),
    /spec\.address.*should match '\^https\?:\/\//,
  ],
  [
    'an address with a password',
    (s) => Object.assign(s, { address: 'https://me:pw@vault' }),
    /spec\.address.*must not hold a user name or password/,
  ],
  [
    'an address with a query',
    (s) => Object.assign(s, { address: 'https://vault?a=b' }),
    /spec\.address.*must not have a query or fragment/,
  ],
  [
    'a CA that is not PEM',
    (s) => Object.assign(s, { caCert: 'MIIB' }),
    /spec\.caCert.*must hold a PEM certificate/,
  ],
  [
    'a private key as CA',
    (s) => Object.assign(s, { caCert: `${certificate}\n${privateKey}` }),
    /must not hold a private key/,
  ],
  [
    'caCert and caCertRef',
    (s) => Object.assign(s, { caCert: certificate, caCertRef: { kind: 'ConfigMap', name: 'a', key: 'b' } }),
    /caCert and caCertRef exclude each other/,
  ],
  [
    'skipTLSVerify and caCertRef',
    (s) => Object.assign(s, { skipTLSVerify: true, caCertRef: { kind: 'Secret', name: 'a', key: 'b' } }),
    /skipTLSVerify and caCertRef exclude each other/,
  ],
  [
    'a caCertRef to a Pod',
    (s) => Object.assign(s, { caCertRef: { kind: 'Pod', name: 'a', key: 'b' } }),
    /caCertRef\.kind: Unsupported value: "Pod": supported values: "ConfigMap", "Secret"/,
  ],
  [
    'an auth mount that climbs',
    (s) => Object.assign(s, { authPath: '../sys' }),
    /spec\.authPath.*segment "\." or "\.\."/,
  ],
  [
    'an auth mount with a blank',
    (s) => Object.assign(s, { authPath: 'main kube' }),
    /spec\.authPath.*should match/,
  ],
  [
    'a Vault namespace of slashes',
    (s) => Object.assign(s, { namespace: '/' }),
    /spec\.namespace.*must not be empty/,
  ],
  [
    'an unknown login',
    (s) => Object.assign(s, { authMethod: 'userpass' }),
    /authMethod: Unsupported value: "userpass": supported values: "kubernetes", "jwt", "approle"/,
  ],
  [
    'approle without appRole',
    (s) => Object.assign(s, { authMethod: 'approle' }),
    /authMethod approle needs appRole/,
  ],
  [
    'appRole without approle',
    (s) => Object.assign(s, { appRole: { roleId: 'r', secretIdRef: { name: 'a', key: 'b' } } }),
    /appRole needs authMethod approle/,
  ],
  [
    'an interval without unit',
    (s) => Object.assign(s, { refreshInterval: '120' }),
    /refreshInterval.*should match/,
  ],
  [
    'an interval that is too short',
    (s) => Object.assign(s, { refreshInterval: '9s' }),
    /refreshInterval.*must be 10s or longer/,
  ],
  [
    'an unknown update mode',
    (s) => Object.assign(s, { updateMode: 'Symlink' }),
    /updateMode: Unsupported value: "Symlink": supported values: "Live", "InPlace", "Atomic"/,
  ],
  [
    'an unknown missing policy',
    (s) => Object.assign(s, { missingPolicy: 'Warn' }),
    /missingPolicy: Unsupported value: "Warn": supported values: "Fail", "Ignore"/,
  ],
]
