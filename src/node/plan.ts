import type { Facts } from '../core/faults/facts.ts'
import { FaultError } from '../core/faults/fault.ts'
import { perVolumeIdentity, resolveIdentity } from '../core/identity.ts'
import type { IssueRequest } from '../core/imports/calls.ts'
import type { ImportSpec } from '../core/imports/import.ts'
import { needsOf } from '../core/imports/needs.ts'
import { checkPolicy } from '../core/imports/policy.ts'
import type { ImportSource } from '../core/ports/imports.ts'
import type { References } from '../core/ports/kubernetes.ts'
import type { Pod } from '../core/ports/pod.ts'
import type { Identity } from '../core/ports/vault.ts'
import type { Config } from '../core/settings/config.ts'
import type { LeasedPaths } from './leases/leased-paths.ts'

/** The calls to Vault that an import needs, and the identity that makes them. */
export type Plan = {
  spec: ImportSpec
  identity: Identity
  /** The same pod where an answer is only this volume's. */
  perVolumeIdentity: Identity
  /** Read alike by all volumes of the identity. */
  paths: readonly string[]
  /** For the leases of this volume. */
  issueRequests: readonly IssueRequest[]
  intervalMs: number
}

/** Different calls of one import: each is asked for at every refresh. */
const MOST_CALLS = 128

export type Planning = {
  /** From an import's name to its calls. @throws FaultError import_*, reference_*, policy_refused */
  plan(who: { pod: Pod; importName: string; volumeId: string }, signal: AbortSignal): Promise<Plan>
  /** The same without paths that turned out to give leases since. */
  again(plan: Plan): Plan
}

export function createPlanning(deps: {
  settings: Config
  imports: Pick<ImportSource, 'get'>
  references: References
  leasedPaths: LeasedPaths
}): Planning {
  const { settings, imports, references, leasedPaths } = deps

  function needs(spec: ImportSpec, identity: Identity): Pick<Plan, 'paths' | 'issueRequests'> {
    const { reads, issueRequests } = needsOf(spec, (call) => leasedPaths.has(identity, call))
    const calls = reads.length + issueRequests.length
    if (calls > MOST_CALLS) {
      throw new FaultError('import_too_large', { reason: `${calls} paths, the limit is ${MOST_CALLS}` })
    }
    return { paths: reads.map(({ key }) => key), issueRequests }
  }

  return {
    async plan({ pod, importName, volumeId }, signal) {
      const spec = await imports.get(pod.namespace, importName, signal)
      checkPolicy(spec, settings)
      const { caCertRef } = spec
      const caCert = caCertRef ? await references.caCert(pod.namespace, caCertRef, signal) : spec.caCert
      const identity = resolveIdentity(spec, settings, pod, caCert)
      const intervalMs = spec.refreshIntervalMs ?? settings.rotationIntervalMs
      return {
        spec,
        identity,
        perVolumeIdentity: perVolumeIdentity(identity, volumeId),
        ...needs(spec, identity),
        intervalMs,
      }
    },
    again: (plan) => ({ ...plan, ...needs(plan.spec, plan.identity) }),
  }
}

/** The asker, for the message of a fault that Vault did not give. */
export function factsOf(identity: Identity): Facts {
  const { endpoint, authMount, role, podNamespace, serviceAccount } = identity
  return { address: endpoint.address, authMount, role, podNamespace, serviceAccount }
}
