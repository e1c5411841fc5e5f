import type { Facts, Fault } from '../../src/core/faults/facts.ts'

const asked: Facts = {
  address: 'https://vault.example.org:8200',
  method: 'kubernetes',
  authMount: 'main-kube',
  role: 'my-app',
  podNamespace: 'shop',
  serviceAccount: 'my-app',
  audience: 'vault',
}
const path = 'secret/data/my-app'
const server = { address: 'https://vault.example.org:8200', authMount: 'main-kube', role: 'my-app' }
const importOf = { importName: 'my-app', podNamespace: 'shop' }

/** Facts as they are known when a fault happens: one usual case of each, for the documentation. */
export const faultSamples = {
  invalid_request: {
    reason:
      'kubelet does not say which pod it is (no csi.storage.k8s.io/pod.name): set podInfoOnMount: true on the CSIDriver',
  },
  already_exists: { reason: 'same volume, other attributes or capability' },
  volume_not_found: { reason: 'volume csi-1f2e is not mounted at /var/lib/kubelet/pods/1f2e/mount' },
  shutting_down: {},
  deadline: { reason: 'publishing the volume' },
  import_not_found: { ...importOf, known: ['my-ap', 'other'] },
  import_invalid: {
    ...importOf,
    reason: 'spec.files[0].source.key: required, unless the file has a template',
  },
  imports_unavailable: { reason: 'connect ECONNREFUSED 10.0.0.1:443' },
  reference_missing: { reason: 'ConfigMap "shop/vault-ca" does not exist' },
  reference_unavailable: {
    reason: 'ConfigMap "shop/vault-ca": the API server answered 403 Forbidden',
    setting: 'rbac.configMaps=true in the Helm values (get on configmaps)',
  },
  policy_refused: {
    reason:
      'SecretsStoreImport "shop/my-app": spec.address https://other.example.org is not among the allowed addresses',
    setting: '--allow-address=https://other.example.org',
  },
  token_missing: { ...asked, reason: 'kubelet passed no service-account token' },
  token_unavailable: {
    podNamespace: 'shop',
    serviceAccount: 'my-app',
    audience: 'vault',
    reason: 'the API server at https://10.0.0.1:443: connect ECONNREFUSED 10.0.0.1:443',
  },
  login_denied: {
    ...asked,
    reason: 'the service account is not bound to the role',
    words: 'service account name not authorized',
  },
  login_reviewer: { ...asked, words: 'permission denied' },
  login_audience: {
    ...asked,
    words: 'invalid audience (aud) claim: audience claim does not match any expected audience',
  },
  login_mount: { ...asked, words: 'permission denied' },
  read_denied: { ...asked, path, words: 'permission denied' },
  call_refused: {
    ...asked,
    path: 'pki/issue/web',
    capability: 'update',
    words: 'common name shop.example.net not allowed by this role',
  },
  path_not_found: { ...asked, path },
  kv2_path: { ...asked, path: 'secret/my-app', wanted: 'secret/data/my-app' },
  version_deleted: { ...asked, path, version: 4, reason: 'deleted', deletedAt: '2026-01-31T08:00:00Z' },
  key_missing: { ...asked, path, key: 'pasword', file: 'db-password', known: ['password', 'username'] },
  tls: {
    ...server,
    reason: 'x509: certificate signed by an unknown authority',
    caSource: "Node's own CAs (no --vault-ca-cert)",
  },
  unreachable: { ...server, reason: 'connection refused' },
  sealed: { ...server, words: 'Vault is sealed' },
  standby: { ...server, reason: 'it redirects to https://vault-1.example.org:8200' },
  rate_limited: { ...server, retryAfterMs: 3000 },
  vault_error: { ...server, httpStatus: 500, words: 'internal error' },
  decode_failed: { ...asked, file: 'keystore', wanted: 'base64' },
  template_failed: {
    file: 'dsn',
    reason: 'there is no "pasword"',
    known: ['password', 'user'],
  },
  key_unusable: {
    path,
    key: 'tls/key',
    reason: 'cannot be a file: its name "tls/key" may hold letters, digits, "-", "_" and "." alone',
    setting: 'leave it out with dataFrom.exclude, or choose another dataFrom.format than Files',
  },
  name_taken: { file: 'password', reason: 'one of spec.files, one of "secret/data/my-app"' },
  credential_refused: {
    file: 'ca.pem',
    reason: "no CA is set for Vault's address: the system's are used, and they are not ours to hand out",
    setting: 'set caCert or caCertRef in the import, or have the operator set --vault-ca-cert',
  },
  sync_refused: {
    secret: 'shop/app-secret',
    reason: 'a Secret of that name exists that driver secrets-store.csi.deckhouse.io did not make',
  },
  sync_invalid: {
    secret: 'shop/registry',
    key: '.dockerconfigjson',
    reason: 'it is no JSON',
  },
  sync_unavailable: {
    secret: 'shop/app-secret',
    reason: 'the API server answered 403 Forbidden',
    setting: 'secretSync.enabled=true in the Helm values (get, create and patch on secrets, get on pods)',
  },
  volume_full: { sizeBytes: 5_242_880, limitBytes: 4_194_304, reason: 'Live keeps two copies' },
  budget_exceeded: {
    sizeBytes: 138_412_032,
    limitBytes: 134_217_728,
    reason: 'namespace "shop"',
    setting: '--max-namespace-bytes',
  },
  import_too_large: { reason: '400 paths, the limit is 128' },
  volume_io: { reason: 'ENOSPC at write of db-password' },
  mount_failed: { reason: 'tmpfs (size=4194304) on /var/lib/kubelet/pods/1f2e/mount: EPERM at mount(2)' },
  internal: {},
} satisfies Record<Fault, Facts>
