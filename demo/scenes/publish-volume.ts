import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Kubelet } from '../../test/harness/kubelet/kubelet.ts'
import type { TokenIssuer } from '../../test/harness/pki/token-issuer.ts'
import { AUDIENCE, IMPORT_NAME, NAMESPACE, POD, SERVICE_ACCOUNT, VOLUME_ID } from '../fixtures.ts'
import { listFiles } from '../list-files.ts'
import type { Output } from '../output.ts'

/** kubelet publishes the pod's volume at `target`. */
export async function publishVolume(
  output: Output,
  { kubelet, issuer, target }: { kubelet: Kubelet; issuer: TokenIssuer; target: string },
): Promise<void> {
  output.title('A pod starts: kubelet publishes its volume')
  const token = issuer.issue({
    namespace: NAMESPACE,
    serviceAccount: SERVICE_ACCOUNT,
    audience: AUDIENCE,
    pod: { name: POD.name, uid: POD.uid },
  })
  const startedAt = performance.now()
  await kubelet.nodePublish({
    volumeId: VOLUME_ID,
    targetPath: target,
    pod: POD,
    importName: IMPORT_NAME,
    readOnly: true,
    tokens: {
      [AUDIENCE]: { token, expirationTimestamp: new Date(Date.now() + 3_600_000).toISOString() },
    },
  })
  output.done(
    `published in ${Math.round(performance.now() - startedAt)} ms: login as the pod, read, mount, write`,
  )
  output.step('ls -l')
  output.show(listFiles(target))
  for (const file of ['db-password', 'dsn']) {
    output.step(`cat ${file}`)
    output.show(readFileSync(join(target, file), 'utf8'))
  }
}
