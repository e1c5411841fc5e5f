/** One pod with its service account, its import, and one secret. */
export const NAMESPACE = 'my-namespace1'
export const SERVICE_ACCOUNT = 'backend-sa'
export const ROLE = 'my-namespace1_backend'
export const AUTH_MOUNT = 'main-kube'
export const AUDIENCE = 'vault'
export const SECRET_PATH = 'secret/data/database-for-python-app'
export const VOLUME_ID = 'csi-demo'
export const IMPORT_NAME = 'python-backend'
export const POD = {
  name: 'backend-demo',
  namespace: NAMESPACE,
  uid: 'demo-uid',
  serviceAccount: SERVICE_ACCOUNT,
}
export const IMPORT = `apiVersion: deckhouse.io/v1alpha1
kind: SecretsStoreImport
metadata: { name: ${IMPORT_NAME}, namespace: ${NAMESPACE} }
spec:
  role: ${ROLE}
  refreshInterval: 2s          # default 2m; short for the demo
  files:
  - name: db-password
    source: { path: ${SECRET_PATH}, key: password }
  - name: dsn
    source: { path: ${SECRET_PATH} }
    template: "postgres://app:{{ password | url_encode }}@db/app"
`

/** A change reaches the files within a few refreshes, in milliseconds. */
export const REFRESH_TIMEOUT_MS = 15_000
