import { FaultError } from '../faults/fault.ts'
import { normalAddress } from '../identity.ts'
import type { Config } from '../settings/config.ts'
import type { Call } from './calls.ts'
import type { ImportSpec } from './import.ts'

export type PolicySettings = Pick<
  Config,
  | 'vaultAddr'
  | 'allowAddress'
  | 'allowHttp'
  | 'allowSkipVerify'
  | 'allowTokenExport'
  | 'vaultNamespace'
  | 'allowSecretSync'
  | 'minRefreshIntervalMs'
>

/**
 * Checks an import against this node's settings. App teams write imports, the cluster admin sets the policy: an address
 * of the app team's choice would receive the pod's service-account token.
 * @throws FaultError policy_refused, which names the flag
 */
export function checkPolicy(spec: ImportSpec, settings: PolicySettings): void {
  checkAddress(spec, settings)
  if (spec.skipTLSVerify && !settings.allowSkipVerify) {
    refuse(spec, 'spec.skipTLSVerify: true is not allowed', '--allow-skip-verify')
  }
  checkPaths(spec, settings)
  // Vault's CA is public.
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

/**
 * Refuses paths that return Vault tokens and secret IDs. A Vault namespace may be in the path as well as in the header:
 * Vault joins both and strips the namespace from the result.
 */
function checkPaths(spec: ImportSpec, settings: PolicySettings): void {
  const namespace = spec.vaultNamespace ?? settings.vaultNamespace
  for (const { path, method } of callsOf(spec)) {
    const segments = path.split('/').filter(Boolean)
    const whole = [...namespace.split('/').filter(Boolean), ...segments]
    if (isTokenLookup(whole)) {
      // Several pods share that token, and it outlives this one.
      refuse(spec, `path ${path} would write the Vault token that reads it into files`, TOKEN_EXPORT_HINT)
    }
    const isRefused = isSystem(segments) || isSystem(whole) || (method !== 'GET' && makesCredentials(whole))
    if (isRefused && !settings.allowTokenExport) {
      const reason = `path ${path} is one of Vault's own, under auth/ and sys/, which hand out Vault credentials`
      refuse(spec, reason, '--allow-token-export')
    }
  }
}

/** Names the setting, and the alternative that the author probably wants. */
export const TOKEN_EXPORT_HINT =
  '--allow-token-export, and use spec.credentials with format Token: a token of this pod alone'

function callsOf({ files, dataFrom }: ImportSpec): readonly Call[] {
  const ofFiles = files.flatMap(({ call, named }) => [call, ...named.map((source) => source.call)])
  const calls = [...ofFiles, ...dataFrom.map(({ call }) => call)]
  return [...new Map(calls.map((call) => [call.key, call])).values()]
}

/** All of auth/ and sys/ except sys/tools/, which only calculates. */
function isSystem([first, second]: readonly string[]): boolean {
  return first === 'auth' || (first === 'sys' && second !== 'tools')
}

/** auth/token/lookup-self and similar, in any namespace: key `id` of the response is the token. */
function isTokenLookup(segments: readonly string[]): boolean {
  return segments.some((segment, at) => {
    const [token, call = ''] = segments.slice(at + 1)
    return segment === 'auth' && token === 'token' && TOKEN_LOOKUPS.has(call)
  })
}

const TOKEN_LOOKUPS: ReadonlySet<string> = new Set(['lookup', 'lookup-self', 'renew', 'renew-self'])

/** Paths that are certainly system calls, in any namespace. Elsewhere `auth` may be a folder of secrets. */
function makesCredentials(segments: readonly string[]): boolean {
  return segments.some((segment, at) => {
    const rest = segments.slice(at + 1)
    if (segment === 'sys') return rest[0] === 'wrapping'
    return segment === 'auth' && rest.some((name) => CREDENTIAL_CALLS.has(name))
  })
}

const CREDENTIAL_CALLS: ReadonlySet<string> = new Set([
  'create',
  'create-orphan',
  'login',
  'secret-id',
  'custom-secret-id',
])

function checkAddress(spec: ImportSpec, settings: PolicySettings): void {
  if (spec.address === undefined) return
  const address = normalAddress(spec.address)
  const isDefault = settings.vaultAddr !== undefined && address === normalAddress(settings.vaultAddr)
  if (isDefault) return
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
