import {
  Client,
  credentials,
  Metadata,
  type MethodDefinition,
  type ServiceDefinition,
  status,
} from '@grpc/grpc-js'
import { TOKENS_KEY } from '../../../src/core/publish-request/service-account-tokens.ts'
import { loadService, PROTO_DIR } from '../../../src/grpc/proto.ts'

export type KubeletOptions = {
  /** Where csi.proto lies; beside the program by default. */
  protoDir?: string
  /** One connection for all calls. kubelet itself opens a new one for each, and so does this by default. */
  keepConnection?: boolean
}

export type PublishArgs = {
  volumeId: string
  targetPath: string
  pod: { name: string; namespace: string; uid: string; serviceAccount: string }
  importName: string
  /** By audience, as kubelet writes them. */
  tokens?: Readonly<Record<string, { token: string; expirationTimestamp: string }>>
  /** Tokens travel in `secrets`, as Kubernetes 1.35 can do, instead of volume_context. */
  tokensInSecrets?: boolean
  fsGroup?: number
  readOnly?: boolean
  /** More volumeAttributes, as a user could write them. */
  attributes?: Readonly<Record<string, string>>
  timeoutMs?: number
}

export type Usage = { unit: string; total: number; used: number; available: number }

export type Kubelet = {
  nodePublish(args: PublishArgs): Promise<void>
  nodeUnpublish(args: { volumeId: string; targetPath: string }): Promise<void>
  stats(args: { volumeId: string; volumePath: string }): Promise<Usage[]>
  getInfo(): Promise<{ node_id: string }>
  /** Names of the node capabilities. */
  capabilities(): Promise<string[]>
  pluginInfo(): Promise<{ name: string; vendor_version: string }>
  probe(): Promise<boolean>
  /** Any method of Identity or Node with a message of your own. */
  raw(
    method: string,
    request: object,
    options?: { timeoutMs?: number; signal?: AbortSignal },
  ): Promise<object>
  close(): void
}

/** A call that the plugin answered with an error. */
export class KubeletError extends Error {
  override readonly name = 'KubeletError'
  /** gRPC status name: INVALID_ARGUMENT. */
  readonly code: string
  readonly details: string

  constructor(method: string, code: string, details: string) {
    super(`${method}: ${code}: ${details}`)
    this.code = code
    this.details = details
  }
}

/** kubelet waits this long for a mount. */
const TIMEOUT_MS = 120_000

/**
 * Calls a CSI plugin's socket as kubelet does: for demo, tests and bench.
 * @param endpoint unix:///path of the CSI socket
 */
export function connectKubelet(endpoint: string, options: KubeletOptions = {}): Kubelet {
  const connections = connectionsTo(endpoint, options.keepConnection ?? false)
  const methods = csiMethods(options.protoDir ?? PROTO_DIR)

  const raw: Kubelet['raw'] = async (method, request, { timeoutMs = TIMEOUT_MS, signal } = {}) => {
    const definition = methods[method]
    if (!definition) throw new Error(`csi.proto has no method ${method}`)
    const { client, done } = connections.take()
    try {
      return await call(client, definition, request, timeoutMs, signal)
    } finally {
      done()
    }
  }
  const ask = async <Response>(method: string, request: object = {}) =>
    (await raw(method, request)) as Response

  return {
    raw,
    nodePublish: async (args) => {
      await raw(
        'NodePublishVolume',
        publishRequest(args),
        args.timeoutMs ? { timeoutMs: args.timeoutMs } : {},
      )
    },
    nodeUnpublish: async ({ volumeId, targetPath }) => {
      await raw('NodeUnpublishVolume', { volume_id: volumeId, target_path: targetPath })
    },
    stats: async ({ volumeId, volumePath }) => {
      const request = { volume_id: volumeId, volume_path: volumePath }
      return (await ask<{ usage: Usage[] }>('NodeGetVolumeStats', request)).usage
    },
    getInfo: () => ask('NodeGetInfo'),
    capabilities: async () => {
      const answer = await ask<{ capabilities: { rpc: { type: string } }[] }>('NodeGetCapabilities')
      return answer.capabilities.map((capability) => capability.rpc.type)
    },
    pluginInfo: () => ask('GetPluginInfo'),
    probe: async () => (await ask<{ ready: { value: boolean } | null }>('Probe')).ready?.value ?? false,
    close: () => connections.close(),
  }
}

type PublishMessage = { volume_context: Record<string, string> } & Record<string, unknown>

/** The message that kubelet sends for a pod's inline volume when the CSIDriver says podInfoOnMount. */
export function publishRequest(args: PublishArgs): PublishMessage {
  const tokens = args.tokens ? { [TOKENS_KEY]: JSON.stringify(args.tokens) } : {}
  const prefix = 'csi.storage.k8s.io'
  return {
    volume_id: args.volumeId,
    target_path: args.targetPath,
    readonly: args.readOnly ?? true,
    volume_capability: {
      mount: { volume_mount_group: args.fsGroup === undefined ? '' : String(args.fsGroup) },
      access_mode: { mode: 'SINGLE_NODE_WRITER' },
    },
    secrets: args.tokensInSecrets ? tokens : {},
    volume_context: {
      secretsStoreImport: args.importName,
      ...args.attributes,
      [`${prefix}/pod.name`]: args.pod.name,
      [`${prefix}/pod.namespace`]: args.pod.namespace,
      [`${prefix}/pod.uid`]: args.pod.uid,
      [`${prefix}/serviceAccount.name`]: args.pod.serviceAccount,
      [`${prefix}/ephemeral`]: 'true',
      ...(args.tokensInSecrets ? {} : tokens),
    },
  }
}

function csiMethods(protoDir: string): ServiceDefinition {
  return {
    ...loadService('csi.proto', 'csi.v1.Identity', protoDir),
    ...loadService('csi.proto', 'csi.v1.Node', protoDir),
  }
}

type Connections = { take(): { client: Client; done(): void }; close(): void }

function connectionsTo(endpoint: string, keep: boolean): Connections {
  // kubelet names the authority itself; a socket's path would not be a legal one.
  const settings = { 'grpc.default_authority': 'localhost', 'grpc.use_local_subchannel_pool': 1 }
  const open = () => new Client(endpoint, credentials.createInsecure(), settings)
  if (!keep) {
    const take = () => {
      const client = open()
      return { client, done: () => client.close() }
    }
    return { take, close: () => {} }
  }
  const client = open()
  return { take: () => ({ client, done: () => {} }), close: () => client.close() }
}

function call(
  client: Client,
  method: MethodDefinition<object, object>,
  request: object,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<object> {
  const { promise, resolve, reject } = Promise.withResolvers<object>()
  const under = client.makeUnaryRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    request,
    new Metadata(),
    { deadline: Date.now() + timeoutMs },
    (error, response) => {
      if (error)
        reject(new KubeletError(method.path, status[error.code] ?? String(error.code), error.details))
      else resolve(response ?? {})
    },
  )
  const cancel = () => under.cancel()
  signal?.addEventListener('abort', cancel, { once: true })
  return promise.finally(() => signal?.removeEventListener('abort', cancel))
}
