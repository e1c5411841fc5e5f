import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Kubelet } from '../../test/harness/kubelet/kubelet.ts'
import type { TokenIssuer } from '../../test/harness/pki/token-issuer.ts'
import { AUDIENCE, IMPORT_NAME, NAMESPACE, POD, SERVICE_ACCOUNT, VOLUME_ID } from '../cast.ts'
import { listFiles } from '../list-files.ts'
import type { Stage } from '../stage.ts'

/** Kubelet publishes the pod's volume at `target`. */
export async function podStarts(
  stage: Stage,
  { kubelet, issuer, target }: { kubelet: Kubelet; issuer: TokenIssuer; target: string },
): Promise<void> {
  stage.title('A pod starts: kubelet asks for its volume')
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
  stage.done(
    `published in ${Math.round(performance.now() - startedAt)} ms: login as the pod, read, tmpfs, files`,
  )
  stage.step('ls -l')
  stage.show(listFiles(target))
  for (const file of ['db-password', 'dsn']) {
    stage.step(`cat ${file}`)
    stage.show(readFileSync(join(target, file), 'utf8'))
  }
}
