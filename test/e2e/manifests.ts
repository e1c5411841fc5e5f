import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { plainManifests, ROOT } from '../../deploy/generate/deploy-files.ts'
import { mustKubectl, noCluster } from '../harness/cluster/cluster.ts'

t.setTimeout(900_000)

t.test('an API server takes the plain manifests', { skip: noCluster }, async (t) => {
  for (const path of (await plainManifests()).keys()) {
    // In a dry run the namespace never comes to be: its objects go where there is one.
    const text = readFileSync(join(ROOT, path), 'utf8').replaceAll(
      'namespace: vault-files-csi',
      'namespace: default',
    )
    const apply = () => mustKubectl(['apply', '--dry-run=server', '--validate=strict', '--filename=-'], text)
    t.doesNotThrow(apply, path)
  }
})
