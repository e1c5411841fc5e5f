import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { until } from '../until.ts'
import type { ApiObject, ClusterApi } from './cluster-api.ts'
import { DRIVER, KUBELET } from './host-plugin.ts'
import { SERVICE_ACCOUNT } from './kube-vault.ts'

const run = promisify(execFile)

/** Where containers have the volume, unless a test says otherwise. */
export const MOUNT = '/mnt/secrets-store'

/** What a test says of a pod; the rest is as a Deployment's pod on this cluster. */
export type PodWish = {
  name: string
  importName?: string
  serviceAccount?: string
  containers?: readonly object[]
  securityContext?: object
  driver?: string
  /** In place of the driver's; undefined for none at all. */
  volume?: object | undefined
  restartPolicy?: string
  /** false: not even the volume of the service account's token, which pods have by default. */
  automountToken?: boolean
}

export type PodEvent = { type: string; reason: string; message: string; from: string }

export type AppPod = {
  name: string
  uid: string
  /** The volume as the host sees it. */
  target: string
  read(file: string): string
  /** undefined when it is gone. */
  get(): Promise<ApiObject>
  /** All of its containers are ready. */
  running(timeoutMs?: number): Promise<void>
  restarts(): Promise<number>
  events(): Promise<PodEvent[]>
  /** The first event whose message matches, past or to come. */
  event(message: RegExp, timeoutMs?: number): Promise<PodEvent>
  /** Standard output. @throws Error with what the command printed */
  exec(container: string, ...command: readonly string[]): Promise<string>
  logs(container: string): Promise<string>
  /** Something about the pod changes, at which kubelet looks at it: a republish without waiting for its minute. */
  touch(): Promise<void>
  /** Deletes it and waits until kubelet has let it go. */
  remove(): Promise<void>
}

export async function createPod(api: ClusterApi, namespace: string, wish: PodWish): Promise<AppPod> {
  const created = await api.create(`/api/v1/namespaces/${namespace}/pods`, podManifest(wish))
  return podHandle(api, namespace, created.metadata)
}

export function podManifest(wish: PodWish): object {
  const { importName = 'python-backend', driver = DRIVER, serviceAccount = SERVICE_ACCOUNT } = wish
  const ours = { csi: { driver, readOnly: true, volumeAttributes: { secretsStoreImport: importName } } }
  const volume = 'volume' in wish ? wish.volume : ours
  const containers = wish.containers ?? [container('app')]
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: wish.name },
    spec: {
      // What the cluster lacks: a scheduler, a network for pods.
      nodeName: 'node1',
      hostNetwork: true,
      tolerations: [{ operator: 'Exists' }],
      serviceAccountName: serviceAccount,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: 1,
      restartPolicy: wish.restartPolicy ?? 'Always',
      ...(wish.automountToken === undefined ? {} : { automountServiceAccountToken: wish.automountToken }),
      ...(wish.securityContext ? { securityContext: wish.securityContext } : {}),
      containers: volume === undefined ? containers.map(withoutMounts) : containers,
      volumes: volume === undefined ? [] : [{ name: 'secrets', ...volume }],
    },
  }
}

/** A container with the volume at MOUNT. @param script of a shell; waits for ever when none is given */
export function container(name: string, script?: string, more: object = {}): object {
  return {
    name,
    image: 'docker.io/local/busybox:1',
    imagePullPolicy: 'Never',
    ...(script === undefined ? {} : { command: ['sh', '-c', script] }),
    volumeMounts: [{ name: 'secrets', mountPath: MOUNT }],
    ...more,
  }
}

function withoutMounts(one: object): object {
  return { ...one, volumeMounts: [] }
}

function podHandle(api: ClusterApi, namespace: string, { name, uid }: { name: string; uid: string }): AppPod {
  const path = `/api/v1/namespaces/${namespace}/pods/${name}`
  const target = join(KUBELET, 'pods', uid, 'volumes/kubernetes.io~csi/secrets/mount')
  let touches = 0

  const pod: AppPod = {
    name,
    uid,
    target,
    read: (file) => readFileSync(join(target, file), 'utf8'),
    get: () => api.get(path),
    async running(timeoutMs = 60_000) {
      await until(`pod ${name} to run`, async () => isReady(await api.get(path)), { timeoutMs, everyMs: 100 })
    },
    async restarts() {
      const { status } = await api.get(path)
      return status.containerStatuses.reduce(
        (sum: number, one: { restartCount: number }) => sum + one.restartCount,
        0,
      )
    },
    async events() {
      const selector = encodeURIComponent(`involvedObject.uid=${uid}`)
      const { items } = await api.get(`/api/v1/namespaces/${namespace}/events?fieldSelector=${selector}`)
      return items.map((event: ApiObject) => ({
        type: event.type,
        reason: event.reason,
        message: event.message,
        from: event.reportingComponent || event.source?.component,
      }))
    },
    event: async (message, timeoutMs = 30_000) => {
      const find = async () => (await pod.events()).find((event) => message.test(event.message))
      try {
        return await until(`an event like ${message}`, find, { timeoutMs, everyMs: 250 })
      } catch (error) {
        throw new Error(`${error}; there are: ${JSON.stringify(await pod.events())}`)
      }
    },
    async exec(inContainer, ...command) {
      const { stdout } = await run('kubectl', [
        'exec',
        '-n',
        namespace,
        name,
        '-c',
        inContainer,
        '--',
        ...command,
      ])
      return stdout
    },
    logs: async (of) => (await run('kubectl', ['logs', '-n', namespace, name, '-c', of])).stdout,
    async touch() {
      touches += 1
      await api.patch(path, { metadata: { annotations: { touched: `${touches}` } } })
    },
    async remove() {
      await api.remove(path)
      const isGone = async () => (await api.get(path))?.metadata.uid !== uid
      await until(`pod ${name} to go`, isGone, { timeoutMs: 90_000, everyMs: 200 })
    },
  }
  return pod
}

function isReady(pod: ApiObject): boolean {
  const statuses = pod?.status?.containerStatuses ?? []
  return statuses.length > 0 && statuses.every(({ ready }: { ready: boolean }) => ready)
}
