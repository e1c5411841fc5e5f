import { scrub } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import { loadService } from './proto.ts'
import { type GrpcServer, startGrpcServer } from './server.ts'
import { unary } from './unary.ts'

export type RegistrationOptions = {
  /** Our socket in kubelet's plugins_registry directory. */
  socketPath: string
  driverName: string
  /** Path of the CSI socket on the host; it must be bound already. */
  kubeletEndpoint: string
  log: Log
  clock: Clock
  /** kubelet has registered the plugin: pods of this node may request volumes. */
  onRegistered(): void
  /** kubelet refused the plugin: the process should end, so that it is restarted and tries again. */
  onRefused(reason: string): void
}

type RawStatus = { plugin_registered?: boolean; error?: string }

/**
 * Registers the plugin with kubelet, which watches the directory: creating the socket there requests registration,
 * removing it at close unregisters the driver.
 * @throws Error that says why the socket cannot be bound
 */
export function startRegistration(options: RegistrationOptions): Promise<GrpcServer> {
  const { socketPath, driverName, kubeletEndpoint, log, clock } = options
  const info = {
    type: 'CSIPlugin',
    name: driverName,
    endpoint: kubeletEndpoint,
    supported_versions: ['1.0.0'],
  }
  return startGrpcServer({
    endpoint: socketPath,
    log,
    clock,
    services: [
      {
        definition: loadService('registration.proto', 'pluginregistration.Registration'),
        implementation: {
          GetInfo: unary(() => info, { doing: 'telling the registration info', log, clock }),
          NotifyRegistrationStatus: unary((status: RawStatus) => noteStatus(status, options), {
            doing: 'noting the registration',
            log,
            clock,
          }),
        },
      },
    ],
  })
}

function noteStatus(
  status: RawStatus,
  { driverName, kubeletEndpoint, log, onRegistered, onRefused }: RegistrationOptions,
): object {
  if (status.plugin_registered) {
    log.info({ driverName, kubeletEndpoint }, 'registered with kubelet')
    onRegistered()
    return {}
  }
  const reason = scrub(status.error ?? '') || 'kubelet gave no reason'
  log.error({ driverName, kubeletEndpoint, reason }, 'kubelet refused the registration')
  onRefused(reason)
  return {}
}
