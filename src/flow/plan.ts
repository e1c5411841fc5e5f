import type { Order } from '../core/call.ts'
import type { Config } from '../core/config.ts'
import { type Facts, FaultError } from '../core/errors.ts'
import { ownIdentity, resolveIdentity } from '../core/identity.ts'
import type { ImportSpec } from '../core/import.ts'
import { needsOf } from '../core/orders.ts'
import { checkPolicy } from '../core/policy.ts'
import type { Identity, ImportSource, Pod, References } from '../core/ports.ts'
import type { LeasedPaths } from './leased-paths.ts'

/** What is to be read, as whom. */
export type Plan = {
  spec: ImportSpec
  identity: Identity
  /** The same pod where an answer is this volume's alone. */
  own: Identity
  /** What all volumes of the identity read alike. */
  paths: readonly string[]
  /** What is issued to this volume alone. */
  orders: readonly Order[]
  intervalMs: number
}

/** Different calls of one import: each is asked for at every refresh. */
const MOST_CALLS = 128

export type Planning = {
  /** From an import's name to what must be asked. @throws FaultError import_*, reference_*, policy_refused */
  plan(who: { pod: Pod; importName: string; volumeId: string }, signal: AbortSignal): Promise<Plan>
  /** The same with what has been learnt of its paths since. */
  again(plan: Plan): Plan
}

export function createPlanning(deps: {
  settings: Config
  imports: Pick<ImportSource, 'get'>
  references: References
  leasedPaths: LeasedPaths
}): Planning {
  const { settings, imports, references, leasedPaths } = deps

  function needs(spec: ImportSpec, identity: Identity): Pick<Plan, 'paths' | 'orders'> {
    const { reads, orders } = needsOf(spec, (call) => leasedPaths.has(identity, call))
    const calls = reads.length + orders.length
    if (calls > MOST_CALLS) {
      throw new FaultError('import_too_large', { reason: `${calls} paths, the limit is ${MOST_CALLS}` })
    }
    return { paths: reads.map(({ key }) => key), orders }
  }

  return {
    async plan({ pod, importName, volumeId }, signal) {
      const spec = await imports.get(pod.namespace, importName, signal)
      checkPolicy(spec, settings)
      const { caCertRef } = spec
      const caCert = caCertRef ? await references.caCert(pod.namespace, caCertRef, signal) : spec.caCert
      const identity = resolveIdentity(spec, settings, pod, caCert)
      const intervalMs = spec.refreshIntervalMs ?? settings.rotationIntervalMs
      return { spec, identity, own: ownIdentity(identity, volumeId), ...needs(spec, identity), intervalMs }
    },
    again: (plan) => ({ ...plan, ...needs(plan.spec, plan.identity) }),
  }
}

/** Who asked, for the message of a fault that Vault did not give. */
export function factsOf(identity: Identity): Facts {
  const { endpoint, authMount, role, podNamespace, serviceAccount } = identity
  return { address: endpoint.address, authMount, role, podNamespace, serviceAccount }
}
