import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { until } from '../until.ts'

/** The custom resource definition that ships with the plugin. */
export const crdPath = join(import.meta.dirname, '../../../deploy/crd/secretsstoreimports.yaml')

/** Why a test that needs a cluster cannot run here; false when it can. */
export const noCluster: string | false = process.env.KUBECONFIG ? false : 'KUBECONFIG is not set'

/** Runs kubectl as the cluster's admin. @param manifest goes to its standard input: an object, or YAML */
export function kubectl(args: readonly string[], manifest?: object | string): SpawnSyncReturns<string> {
  const input = typeof manifest === 'object' ? JSON.stringify(manifest) : manifest
  return spawnSync('kubectl', args, { encoding: 'utf8', ...(input === undefined ? {} : { input }) })
}

/** @throws Error with what kubectl said */
export function mustKubectl(args: readonly string[], manifest?: object | string): string {
  const { status, stdout, stderr } = kubectl(args, manifest)
  if (status !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`)
  return stdout
}

/** Installs the CRD and waits until the API server serves it. */
export async function installCrd(): Promise<void> {
  mustKubectl(['apply', '--server-side', '--force-conflicts', '-f', crdPath])
  const crd = 'crd/secretsstoreimports.deckhouse.io'
  // `kubectl wait` itself fails while a new CRD has no conditions yet.
  const wait = ['wait', '--for=condition=Established', '--timeout=30s', crd]
  await until('the CRD to be established', () => kubectl(wait).status === 0)
  // Established comes before every part of the API server serves it; and where thousands of imports of an earlier test are
  // still being deleted the API server waits for that first.
  await until(
    'the CRD to be served',
    () => kubectl(['get', '--raw', '/apis/deckhouse.io/v1alpha1/secretsstoreimports']).status === 0,
    { timeoutMs: 180_000, everyMs: 250 },
  )
}

/** A namespace of the test's own; the answer deletes it. */
export function createNamespace(name: string): () => void {
  mustKubectl(['create', 'namespace', name])
  return () => {
    kubectl(['delete', 'namespace', name, '--wait=false'])
  }
}
