import { FaultError } from '../core/errors.ts'
import type { Clock, Log, SecretSync } from '../core/ports.ts'
import type { KubeClient } from './client.ts'

/** Keeps Kubernetes Secrets in step with files. Comes next; until then it says that it does not. */
export function createKubeSecretSync(_deps: {
  client: KubeClient
  clock: Clock
  log: Log
  driverName: string
  nodeId: string
}): SecretSync {
  return {
    async sync([first]) {
      if (first === undefined) return
      const secret = `${first.namespace}/${first.name}`
      throw new FaultError('sync_unavailable', { secret, reason: 'this build cannot write Secrets' })
    },
  }
}
