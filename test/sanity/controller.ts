import { randomUUID } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { loadPackageDefinition, type ServiceClientConstructor } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { FaultError } from '../../src/core/faults/fault.ts'
import type { Clock } from '../../src/core/ports/clock.ts'
import type { Log } from '../../src/core/ports/log.ts'
import { PROTO_DIR } from '../../src/grpc/proto.ts'
import type { Service } from '../../src/grpc/server.ts'
import { type Handler, unary } from '../../src/grpc/unary.ts'

type Volume = { volume_id: string; capacity_bytes: number; volume_context: Record<string, string> }
type CreateRequest = {
  name: string
  volume_capabilities: object[]
  capacity_range: { required_bytes: number; limit_bytes: number } | null
}

export type ControllerOptions = {
  /** volume_context of each new volume: what kubelet would pass for a pod. */
  volumeContext(): Record<string, string>
  log: Log
  clock: Clock
}

/**
 * Stands in for the controller that we do not have: csi-sanity publishes only volumes that a controller made,
 * and takes their attributes from it.
 */
export function controllerService({ volumeContext, log, clock }: ControllerOptions): Service {
  const volumes = new Map<string, Volume>()
  const rpc = <Request>(handler: Handler<Request, object>) => unary(handler, { doing: 'playing', log, clock })

  return {
    definition: loadController(),
    implementation: {
      ControllerGetCapabilities: rpc(() => ({ capabilities: [{ rpc: { type: 'CREATE_DELETE_VOLUME' } }] })),
      CreateVolume: rpc(({ name, volume_capabilities, capacity_range }: CreateRequest) => {
        require(name !== '', 'name is missing')
        require(volume_capabilities.length > 0, 'volume_capabilities are missing')
        const size = capacity_range?.required_bytes ?? 0
        const found = volumes.get(name)
        if (found && found.capacity_bytes !== size) throw new FaultError('already_exists')
        const volume = found ?? {
          volume_id: randomUUID(),
          capacity_bytes: size,
          volume_context: volumeContext(),
        }
        volumes.set(name, volume)
        return { volume }
      }),
      DeleteVolume: rpc(({ volume_id }: { volume_id: string }) => {
        require(volume_id !== '', 'volume_id is missing')
        for (const [name, volume] of volumes) if (volume.volume_id === volume_id) volumes.delete(name)
        return {}
      }),
      ValidateVolumeCapabilities: rpc((request: { volume_id: string; volume_capabilities: object[] }) => {
        require(request.volume_id !== '', 'volume_id is missing')
        require(request.volume_capabilities.length > 0, 'volume_capabilities are missing')
        const known = [...volumes.values()].some((volume) => volume.volume_id === request.volume_id)
        if (!known) throw new FaultError('volume_not_found')
        return { confirmed: { volume_capabilities: request.volume_capabilities } }
      }),
    },
  }
}

function require(holds: boolean, reason: string): void {
  if (!holds) throw new FaultError('invalid_request', { reason })
}

function loadController() {
  const own = fileURLToPath(new URL('.', import.meta.url))
  const loaded = loadPackageDefinition(
    loadSync('controller.proto', {
      includeDirs: [own, PROTO_DIR],
      keepCase: true,
      longs: Number,
      enums: String,
      defaults: true,
      oneofs: true,
    }),
  ) as unknown as { csi: { v1: { Controller: ServiceClientConstructor } } }
  return loaded.csi.v1.Controller.service
}
