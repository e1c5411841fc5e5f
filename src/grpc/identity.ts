import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import { loadService } from './proto.ts'
import type { Service } from './server.ts'
import { unary } from './unary.ts'

export type IdentityOptions = {
  driverName: string
  /** The plugin's version, for `kubectl` and bug reports. */
  version: string
  /** Whether publishing would work now. */
  ready(): boolean | Promise<boolean>
  log: Log
  clock: Clock
}

/** csi.v1.Identity: name, version and readiness. No plugin capabilities: there is no controller. */
export function identityService({ driverName, version, ready, log, clock }: IdentityOptions): Service {
  return {
    definition: loadService('csi.proto', 'csi.v1.Identity'),
    implementation: {
      GetPluginInfo: unary(() => ({ name: driverName, vendor_version: version }), {
        doing: 'telling the plugin info',
        log,
        clock,
      }),
      GetPluginCapabilities: unary(() => ({ capabilities: [] }), {
        doing: 'telling the plugin capabilities',
        log,
        clock,
      }),
      Probe: unary(async () => ({ ready: { value: await ready() } }), { doing: 'probing', log, clock }),
    },
  }
}
