import { Client, credentials, type handleUnaryCall, type ServiceDefinition } from '@grpc/grpc-js'
import type { Clock } from '../../src/core/ports/clock.ts'
import type { Log } from '../../src/core/ports/log.ts'
import { loadService } from '../../src/grpc/proto.ts'
import { type GrpcServer, type Service, startGrpcServer } from '../../src/grpc/server.ts'
import { unary } from '../../src/grpc/unary.ts'
import { controllerService } from './controller.ts'

export type FrontOptions = {
  endpoint: string
  pluginEndpoint: string
  volumeContext(): Record<string, string>
  log: Log
  clock: Clock
}

/** Node calls of the specification, also those that the plugin leaves UNIMPLEMENTED: it shall say so itself. */
const NODE_CALLS = [
  'NodeStageVolume',
  'NodeUnstageVolume',
  'NodePublishVolume',
  'NodeUnpublishVolume',
  'NodeGetVolumeStats',
  'NodeExpandVolume',
  'NodeGetCapabilities',
  'NodeGetInfo',
]

/**
 * What csi-sanity talks to: the plugin, byte for byte, except that a controller is announced and played here.
 * So the program under test is the one that ships, without a test mode.
 */
export async function startFront(options: FrontOptions): Promise<GrpcServer> {
  const { endpoint, pluginEndpoint, log, clock } = options
  const plugin = new Client(pluginEndpoint, credentials.createInsecure(), {
    'grpc.default_authority': 'localhost',
  })
  const server = await startGrpcServer({
    endpoint,
    log,
    clock,
    services: [
      forward(plugin, 'csi.v1.Node', NODE_CALLS),
      forward(plugin, 'csi.v1.Identity', ['GetPluginInfo', 'Probe']),
      announcement({ log, clock }),
      controllerService(options),
    ],
  })
  return {
    close: async (graceMs) => {
      await server.close(graceMs)
      plugin.close()
    },
  }
}

function forward(plugin: Client, serviceName: string, names: readonly string[]): Service {
  const call =
    (path: string): handleUnaryCall<Buffer, Buffer> =>
    ({ request }, callback) => {
      plugin.makeUnaryRequest(path, asIs, asIs, request, (error, answer) => {
        if (error) callback({ code: error.code, details: error.details })
        else callback(null, answer)
      })
    }
  const paths = names.map((name) => [name, `/${serviceName}/${name}`] as const)
  const method = {
    requestStream: false,
    responseStream: false,
    requestSerialize: asIs,
    requestDeserialize: asIs,
  }
  const definition: ServiceDefinition = Object.fromEntries(
    paths.map(([name, path]) => [
      name,
      { ...method, path, responseSerialize: asIs, responseDeserialize: asIs },
    ]),
  )
  return { definition, implementation: Object.fromEntries(paths.map(([name, path]) => [name, call(path)])) }
}

function announcement(base: { log: Log; clock: Clock }): Service {
  const { GetPluginCapabilities } = loadService('csi.proto', 'csi.v1.Identity')
  const capabilities = [{ service: { type: 'CONTROLLER_SERVICE' } }]
  return {
    definition: { GetPluginCapabilities: GetPluginCapabilities! },
    implementation: {
      GetPluginCapabilities: unary(() => ({ capabilities }), { ...base, doing: 'announcing' }),
    },
  }
}

function asIs(bytes: Buffer): Buffer {
  return bytes
}
