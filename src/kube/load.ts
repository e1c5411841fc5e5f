import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { FaultError } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Connection } from './connection.ts'
import { createCredentials } from './credentials.ts'
import { readKubeconfig } from './kubeconfig.ts'

/** Where kubelet puts a pod's own token and the cluster's CA. */
const SERVICE_ACCOUNT_FOLDER = '/var/run/secrets/kubernetes.io/serviceaccount'

/**
 * Finds the API server: $KUBECONFIG, else the pod's own service account, else ~/.kube/config.
 * @throws FaultError imports_unavailable when there is none or it cannot be read
 */
export function loadConnection(deps: {
  clock: Pick<Clock, 'monotonic' | 'now'>
  env: Readonly<Record<string, string | undefined>>
  home?: string
  serviceAccountFolder?: string
}): Connection {
  const { clock, env, home = homedir(), serviceAccountFolder = SERVICE_ACCOUNT_FOLDER } = deps
  const named = (env.KUBECONFIG ?? '').split(delimiter).filter(Boolean)
  if (named.length > 0) return read(named, clock)
  const host = env.KUBERNETES_SERVICE_HOST
  if (host && existsSync(join(serviceAccountFolder, 'token'))) {
    return inCluster(host, env.KUBERNETES_SERVICE_PORT ?? '443', serviceAccountFolder, clock)
  }
  const ofUser = join(home, '.kube', 'config')
  if (existsSync(ofUser)) return read([ofUser], clock)
  throw new FaultError('imports_unavailable', {
    reason: `no API server is known: KUBECONFIG is not set, ${serviceAccountFolder}/token (automountServiceAccountToken) and ${ofUser} do not exist; --imports dir:PATH needs none`,
    setting: '--imports',
  })
}

function read(paths: readonly string[], clock: Pick<Clock, 'monotonic' | 'now'>): Connection {
  try {
    return readKubeconfig(paths, clock)
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'the kubeconfig cannot be read'
    throw new FaultError('imports_unavailable', { reason, setting: 'KUBECONFIG' }, error)
  }
}

function inCluster(
  host: string,
  port: string,
  folder: string,
  clock: Pick<Clock, 'monotonic' | 'now'>,
): Connection {
  const sources = {
    token: { file: join(folder, 'token') },
    ca: { file: join(folder, 'ca.crt') },
    clientCertificate: undefined,
    clientKey: undefined,
    exec: undefined,
  }
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    tlsServerName: undefined,
    skipTLSVerify: false,
    credentials: createCredentials(sources, clock),
  }
}
