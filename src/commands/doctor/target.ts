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

/** A valid import, and the identity that its pods have in Vault. */
export type ResolvedImport = { spec: ImportSpec; identity: Identity }

/** The Vault to check. */
export type Target = {
  endpoint: VaultEndpoint
  authMount: string
  /** undefined: no import was given, or it is not usable. */
  resolvedImport: ResolvedImport | undefined
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

/** Undefined when neither the import nor the settings give an address. */
export async function resolveTarget(deps: TargetDeps, signal: AbortSignal): Promise<Target | undefined> {
  const spec = await findImport(deps, signal)
  const identity = spec && (await identify(deps, spec, signal))
  if (spec && identity) {
    return { endpoint: identity.endpoint, authMount: identity.authMount, resolvedImport: { spec, identity } }
  }
  const endpoint = endpointOf(deps.config)
  return endpoint && { endpoint, authMount: deps.config.vaultAuthPath, resolvedImport: undefined }
}

async function findImport(deps: TargetDeps, signal: AbortSignal): Promise<ImportSpec | undefined> {
  const { report, clock, config, cluster, args } = deps
  const { importRef } = args
  if (importRef === undefined) {
    report.skip(['import'], 'not given: --import NAMESPACE/NAME')
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

/** The identity of the import's pods in Vault; undefined when the settings refuse the import or its CA cannot be read. */
async function identify(
  deps: TargetDeps,
  spec: ImportSpec,
  signal: AbortSignal,
): Promise<Identity | undefined> {
  const { report, config, args } = deps
  const allowed = await report.run('allowed', () => checkAllowed(spec, config))
  if (allowed.outcome === 'fail') return undefined
  const hasCaRef = spec.caCertRef !== undefined
  const importCa = hasCaRef && (await report.run('CA of the import', () => readImportCa(deps, spec, signal)))
  const caCert = importCa ? valueIn(importCa) : spec.caCert
  if (importCa && caCert === undefined) return undefined
  const pod = { name: '', uid: '', namespace: spec.namespace, serviceAccount: args.serviceAccount ?? '' }
  const address = await report.run('address', () => {
    const identity = resolveIdentity(spec, config, pod, caCert)
    const source = spec.address === undefined ? '--vault-addr' : 'spec.address'
    return ok(`${identity.endpoint.address}, from ${source}`, identity)
  })
  return valueIn(address)
}

async function readImportCa(
  { cluster, clock }: TargetDeps,
  { namespace, caCertRef }: ImportSpec,
  signal: AbortSignal,
): Promise<Verdict<string>> {
  if (!cluster || !caCertRef) throw noApiServerFault('spec.caCertRef', ', or write spec.caCert instead')
  const references = createKubeReferences({ client: cluster.client, clock })
  const pem = await references.caCert(namespace, caCertRef, signal)
  return ok(`key ${caCertRef.key} of ${caCertRef.kind} ${namespace}/${caCertRef.name}`, pem)
}

/** For references of an import that is read from a directory. */
export function noApiServerFault(field: string, orElse = ''): FaultError {
  const reason = 'there is no API server to read it from'
  return new FaultError('reference_unavailable', { field, reason, setting: `--imports=kube${orElse}` })
}

/** The Vault of imports that set no address. */
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
