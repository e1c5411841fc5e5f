/** What `change` makes of the import that users' guides show. */
export function importManifest(change: (spec: ImportManifest['spec']) => void = () => {}): ImportManifest {
  const manifest: ImportManifest = {
    apiVersion: 'deckhouse.io/v1alpha1',
    kind: 'SecretsStoreImport',
    metadata: { name: 'python-backend', namespace: 'my-namespace1' },
    spec: {
      type: 'CSI',
      role: 'my-namespace1_backend',
      files: [
        { name: 'db-password', source: { path: 'secret/data/database-for-python-app', key: 'password' } },
      ],
    },
  }
  change(manifest.spec)
  return manifest
}

export type ImportManifest = {
  apiVersion: string
  kind: string
  metadata: {
    name: string
    namespace: string
    resourceVersion?: string
    uid?: string
    generation?: number
  }
  spec: Record<string, unknown> & { files: Record<string, unknown>[] }
}
