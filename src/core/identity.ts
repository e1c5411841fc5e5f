import { createHash } from 'node:crypto'
import { FaultError } from './faults/fault.ts'
import type { ImportSpec } from './imports/import.ts'
import type { Pod, ServiceAccountToken } from './ports/pod.ts'
import type { Identity, VaultEndpoint } from './ports/vault.ts'
import type { Config } from './settings/config.ts'

export type VaultSettings = Pick<Config, 'vaultAddr' | 'vaultAuthPath' | 'vaultNamespace' | 'vaultSkipVerify'>

/**
 * The pod's identity at Vault: the import's fields, with the plugin's settings as defaults.
 * `kubernetes` logins of one service account share a Vault token; a `jwt` login belongs to one pod.
 * @param caCert PEM, when it came by spec.caCertRef
 * @throws FaultError import_invalid when neither has an address
 */
export function resolveIdentity(
  spec: ImportSpec,
  settings: VaultSettings,
  pod: Pod,
  caCert = spec.caCert,
): Identity {
  const endpoint = { ...resolveEndpoint(spec, settings), caCert }
  const authMount = trimSlashes(spec.authPath ?? settings.vaultAuthPath)
  const audience = spec.audience ?? ''
  const parts = [
    spec.authMethod,
    endpoint.address,
    endpoint.namespace,
    authMount,
    spec.role,
    `${pod.namespace}/${pod.serviceAccount}`,
    audience,
    tlsMark(endpoint),
    spec.authMethod === 'jwt' ? pod.uid : '',
  ]
  // Appended, so that the keys of all others stay as they are in logs and metrics of earlier versions.
  if (spec.appRole !== undefined) {
    const { roleId, secretIdRef } = spec.appRole
    parts.push(roleId, secretIdRef.name, secretIdRef.key)
  }
  return {
    key: parts.join('|'),
    endpoint,
    method: spec.authMethod,
    authMount,
    role: spec.role,
    roleId: spec.appRole?.roleId,
    audience,
    podNamespace: pod.namespace,
    serviceAccount: pod.serviceAccount,
  }
}

/** The per-volume identity for the leases of one volume: it shares its Vault token with no other volume. */
export function perVolumeIdentity(identity: Identity, volumeId: string): Identity {
  return { ...identity, key: `${identity.key}|${volumeId}` }
}

/** The address without trailing slashes, so that equal addresses make one identity. */
export function normalAddress(address: string): string {
  return address.slice(0, endBefore(address, '/'))
}

/**
 * The token for the identity's audience. Without an audience the only token is meant, or of several the one
 * for the API server's own audience ("").
 */
export function pickToken(
  tokens: ReadonlyMap<string, ServiceAccountToken>,
  audience: string,
): ServiceAccountToken | undefined {
  if (audience !== '') return tokens.get(audience)
  if (tokens.size === 1) return tokens.values().next().value
  return tokens.get('')
}

function resolveEndpoint(spec: ImportSpec, settings: VaultSettings): Omit<VaultEndpoint, 'caCert'> {
  const given = spec.address ?? settings.vaultAddr
  if (given === undefined) {
    throw new FaultError('import_invalid', {
      importName: spec.name,
      podNamespace: spec.namespace,
      reason: 'spec.address is not set and the plugin has no --vault-addr',
    })
  }
  const address = normalAddress(given)
  const isDefaultAddress = settings.vaultAddr !== undefined && address === normalAddress(settings.vaultAddr)
  return {
    address,
    namespace: trimSlashes(spec.vaultNamespace ?? settings.vaultNamespace),
    // --vault-skip-verify covers the address of --vault-addr only.
    skipTLSVerify: spec.skipTLSVerify || (isDefaultAddress && settings.vaultSkipVerify),
    tlsServerName: spec.tlsServerName,
  }
}

/** Two endpoints that trust different things must not share a token. */
function tlsMark(endpoint: VaultEndpoint): string {
  const { caCert, skipTLSVerify, tlsServerName } = endpoint
  if (caCert === undefined && !skipTLSVerify && tlsServerName === undefined) return ''
  const ca = caCert === undefined ? '' : createHash('sha256').update(caCert).digest('base64url').slice(0, 16)
  return `${ca},${skipTLSVerify},${tlsServerName ?? ''}`
}

/** By index: `/\/+$/` takes time by the square of the slashes in the middle. */
export function trimSlashes(path: string): string {
  const end = endBefore(path, '/')
  let start = 0
  while (start < end && path[start] === '/') start += 1
  return path.slice(start, end)
}

/** Where the text ends when these characters at its end are not counted. */
export function endBefore(text: string, dropped: string): number {
  let end = text.length
  while (end > 0 && dropped.includes(text.charAt(end - 1))) end -= 1
  return end
}
