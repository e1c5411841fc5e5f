import { FaultError } from '../../core/faults/fault.ts'
import { normalAddress, resolveIdentity } from '../../core/identity.ts'
import type { ImportSpec } from '../../core/imports/import.ts'
import type { Clock } from '../../core/ports/clock.ts'
import type { Sandbox } from '../../core/ports/sandbox.ts'
import type { Identity, VaultEndpoint } from '../../core/ports/vault.ts'
import type { Config } from '../../core/settings/config.ts'
import { createKubeReferences } from '../../kube/references.ts'
import type { DoctorArguments } from './arguments.ts'
import type { Cluster } from './cluster.ts'
import { checkAllowed, checkDirImport, checkKubeImport } from './import.ts'
import { ok, type Report, type Verdict, valueIn } from './report.ts'

/** What Vault is to be asked, and where; without an identity there is no import, or none that is in order. */
export type Target = {
  endpoint: VaultEndpoint
  authMount: string
  asked: { spec: ImportSpec; identity: Identity } | undefined
}

export type TargetDeps = {
  sandbox: Sandbox
  report: Report
  clock: Clock
  args: DoctorArguments
  config: Config
  /** undefined: --imports dir:PATH, or the API server does not answer. */
  cluster: Cluster | undefined
}

/** Undefined when nobody names an address. */
export async function findTarget(deps: TargetDeps, signal: AbortSignal): Promise<Target | undefined> {
  const spec = await findImport(deps, signal)
  const identity = spec && (await identify(deps, spec, signal))
  if (spec && identity) {
    return { endpoint: identity.endpoint, authMount: identity.authMount, asked: { spec, identity } }
  }
  const endpoint = endpointOf(deps.config)
  return endpoint && { endpoint, authMount: deps.config.vaultAuthPath, asked: undefined }
}

async function findImport(deps: TargetDeps, signal: AbortSignal): Promise<ImportSpec | undefined> {
  const { report, clock, config, cluster, args } = deps
  const { importRef } = args
  if (importRef === undefined) {
    report.skip(['import'], 'none is named: --import NAMESPACE/NAME')
    return undefined
  }
  const { imports } = config
  if (imports.kind === 'dir') {
    return valueIn(await report.run('import', () => checkDirImport(imports.path, importRef, clock, signal)))
  }
  if (cluster) {
    return valueIn(await report.run('import', () => checkKubeImport(cluster.client, importRef, signal)))
  }
  report.skip(['import'], 'the API server does not answer')
  return undefined
}

/** Who a pod of the import would be for Vault; undefined when settings or references forbid it. */
async function identify(
  deps: TargetDeps,
  spec: ImportSpec,
  signal: AbortSignal,
): Promise<Identity | undefined> {
  const { report, config, args } = deps
  const allowed = await report.run('allowed', () => checkAllowed(spec, config))
  if (allowed.outcome === 'fail') return undefined
  const isReferring = spec.caCertRef !== undefined
  const referred = isReferring && (await report.run('CA of the import', () => referredCa(deps, spec, signal)))
  const caCert = referred ? valueIn(referred) : spec.caCert
  if (referred && caCert === undefined) return undefined
  const pod = { name: '', uid: '', namespace: spec.namespace, serviceAccount: args.serviceAccount ?? '' }
  const address = await report.run('address', () => {
    const identity = resolveIdentity(spec, config, pod, caCert)
    const whose = spec.address === undefined ? '--vault-addr' : 'spec.address'
    return ok(`${identity.endpoint.address}, of ${whose}`, identity)
  })
  return valueIn(address)
}

async function referredCa(
  { cluster, clock }: TargetDeps,
  { namespace, caCertRef }: ImportSpec,
  signal: AbortSignal,
): Promise<Verdict<string>> {
  if (!cluster || !caCertRef) throw noApiServer('spec.caCertRef', ', or write spec.caCert instead')
  const references = createKubeReferences({ client: cluster.client, clock })
  const pem = await references.caCert(namespace, caCertRef, signal)
  return ok(`key ${caCertRef.key} of ${caCertRef.kind} ${namespace}/${caCertRef.name}`, pem)
}

/** What an import of a directory refers to nobody can read. */
export function noApiServer(field: string, orElse = ''): FaultError {
  const reason = 'there is no API server to read it from'
  return new FaultError('reference_unavailable', { field, reason, setting: `--imports=kube${orElse}` })
}

/** Vault as imports find it that say nothing of it. */
function endpointOf({ vaultAddr, vaultNamespace, vaultSkipVerify }: Config): VaultEndpoint | undefined {
  if (vaultAddr === undefined) return undefined
  return {
    address: normalAddress(vaultAddr),
    namespace: vaultNamespace,
    caCert: undefined,
    skipTLSVerify: vaultSkipVerify,
    tlsServerName: undefined,
  }
}
