import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ClusterApi } from './cluster-api.ts'

/** Writes a kubeconfig for the owner of `token` into `folder`. @returns its path */
export function writeKubeconfig({ server, ca }: ClusterApi, folder: string, token: string): string {
  const cluster = { server, 'certificate-authority-data': Buffer.from(ca).toString('base64') }
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'cluster', cluster }],
    users: [{ name: 'plugin', user: { token } }],
    contexts: [{ name: 'cluster', context: { cluster: 'cluster', user: 'plugin' } }],
    'current-context': 'cluster',
  }
  const path = join(folder, 'kubeconfig')
  writeFileSync(path, JSON.stringify(kubeconfig), { mode: 0o600 })
  return path
}
