import type { Config } from './config.ts'
import { FaultError } from './errors.ts'
import { normalAddress } from './identity.ts'
import type { ImportSpec } from './import.ts'

export type PolicySettings = Pick<
  Config,
  | 'vaultAddr'
  | 'allowAddress'
  | 'allowHttp'
  | 'allowSkipVerify'
  | 'allowTokenExport'
  | 'allowSecretSync'
  | 'minRefreshIntervalMs'
>

/**
 * What an import may ask of this node. The import's author and the node's operator are different people:
 * an address of the author's choice would be sent the pod's service-account token.
 * @throws FaultError policy_refused naming the flag
 */
export function checkPolicy(spec: ImportSpec, settings: PolicySettings): void {
  checkAddress(spec, settings)
  if (spec.skipTLSVerify && !settings.allowSkipVerify) {
    refuse(spec, 'spec.skipTLSVerify: true is not allowed', '--allow-skip-verify')
  }
  // The CA of Vault is no credential.
  if (spec.credentials.some(({ format }) => format !== 'CABundle') && !settings.allowTokenExport) {
    refuse(spec, 'spec.credentials would write Vault credentials into files', '--allow-token-export')
  }
  if (spec.secretSync.length > 0 && !settings.allowSecretSync) {
    refuse(spec, 'spec.secretSync would write Kubernetes Secrets', '--allow-secret-sync')
  }
  if (spec.refreshIntervalMs !== undefined && spec.refreshIntervalMs < settings.minRefreshIntervalMs) {
    const floor = `${settings.minRefreshIntervalMs / 1000}s`
    refuse(spec, `spec.refreshInterval is under this node's floor of ${floor}`, '--min-refresh-interval')
  }
}

function checkAddress(spec: ImportSpec, settings: PolicySettings): void {
  if (spec.address === undefined) return
  const address = normalAddress(spec.address)
  const isOperators = settings.vaultAddr !== undefined && address === normalAddress(settings.vaultAddr)
  if (isOperators) return
  const allowed = settings.allowAddress.some((entry) => entry === '*' || normalAddress(entry) === address)
  if (!allowed) {
    refuse(spec, `spec.address ${address} is not among the allowed addresses`, `--allow-address=${address}`)
  }
  if (address.startsWith('http://') && !settings.allowHttp) {
    refuse(spec, `spec.address ${address} is plain http`, '--allow-http')
  }
}

function refuse(spec: ImportSpec, reason: string, setting: string): never {
  throw new FaultError('policy_refused', {
    importName: spec.name,
    podNamespace: spec.namespace,
    reason: `SecretsStoreImport "${spec.namespace}/${spec.name}": ${reason}`,
    setting,
  })
}
