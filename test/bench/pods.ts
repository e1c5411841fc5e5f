import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { PublishArgs } from '../harness/kubelet/kubelet.ts'
import type { HopWork } from './hop.ts'
import { AUDIENCE, type ImportName, NAMESPACE, type Scene, SERVICE_ACCOUNT } from './scene.ts'

/**
 * What kubelet would say of `count` new pods: tokens signed and parent directories made beforehand, so that neither
 * is timed.
 * @param options.serviceAccounts how many the pods are spread over
 */
export function createPods(
  scene: Scene,
  options: { name: string; count: number; importName: ImportName | HopWork; serviceAccounts?: number },
): PublishArgs[] {
  const { name, count, importName, serviceAccounts = 1 } = options
  const folder = scene.newFolder(name)
  const expirationTimestamp = new Date(Date.now() + 3_600_000).toISOString()
  return Array.from({ length: count }, (_, index) => {
    const uid = `${name}-${index}`
    const account = index % serviceAccounts
    const serviceAccount = account === 0 ? SERVICE_ACCOUNT : `${SERVICE_ACCOUNT}-${account}`
    const token = scene.issuer.issue({
      namespace: NAMESPACE,
      serviceAccount,
      audience: AUDIENCE,
      pod: { name: uid, uid },
      ttl: 3600,
    })
    mkdirSync(join(folder, uid))
    return {
      volumeId: `csi-${uid}`,
      targetPath: join(folder, uid, 'mount'),
      pod: { name: uid, namespace: NAMESPACE, uid, serviceAccount },
      importName,
      readOnly: true,
      tokens: { [AUDIENCE]: { token, expirationTimestamp } },
    }
  })
}
