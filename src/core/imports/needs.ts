import { type Call, type IssueRequest, issueRequestFor, RENEW_AT } from './calls.ts'
import type { CredentialSpec, ImportSpec } from './import.ts'

/** The Vault calls of an import: reads, whose answers are shared, and issue requests, whose leases belong to one volume. */
export type Needs = { reads: Call[]; issueRequests: IssueRequest[] }

/** @param isLeased whether a read is known to return a lease, as `database/creds/…` does */
export function needsOf(spec: ImportSpec, isLeased: (call: Call) => boolean): Needs {
  const calls = new Map<string, Call>()
  for (const { call, named } of spec.files) {
    for (const one of [call, ...named.map((source) => source.call)]) calls.set(one.key, one)
  }
  for (const { call } of spec.dataFrom) calls.set(call.key, call)
  const requests = new Map<string, IssueRequest>()
  const reads: Call[] = []
  for (const call of calls.values()) {
    if (call.isIssued || isLeased(call)) requests.set(call.key, issueRequestFor(call))
    else reads.push(call)
  }
  for (const credential of spec.credentials) {
    const request = credentialRequest(credential)
    if (request !== undefined) requests.set(request.key, request)
  }
  return { reads, issueRequests: [...requests.values()] }
}

/** The issue request of a credential; undefined for one that is not specific to the pod. */
export function credentialRequest(credential: CredentialSpec): IssueRequest | undefined {
  const { format, role, authPath } = credential
  const common = { renewAt: RENEW_AT, revokeOnUnmount: true }
  if (format === 'CABundle') return undefined
  // All token files share one token.
  if (format === 'Token' || format === 'KubernetesVaultToken') {
    return { ...common, key: 'credential: token', kind: 'token' }
  }
  const isWrapped = format === 'WrappedSecretID'
  const key = `credential: ${isWrapped ? 'wrapped ' : ''}secret ID of ${authPath}/${role}`
  return { ...common, key, kind: 'secret-id', role, authPath, isWrapped }
}

/**
 * Names of the files that contain values of per-volume leases.
 * @param names of all rendered files
 */
export function perVolumeFiles(
  spec: ImportSpec,
  requests: readonly IssueRequest[],
  names: readonly string[],
): ReadonlySet<string> {
  const keys = new Set(requests.map(({ key }) => key))
  const perVolume = new Set<string>()
  const declared = new Set([...spec.files, ...spec.credentials].map(({ name }) => name))
  for (const { name, call, named } of spec.files) {
    if ([call, ...named.map((source) => source.call)].some(({ key }) => keys.has(key))) perVolume.add(name)
  }
  for (const { call, fileName, prefix } of spec.dataFrom) {
    if (!keys.has(call.key)) continue
    // A file for each key, recognized by its prefix. One file too many is better than pods that overwrite each other.
    const keyed = names.filter((name) => name.startsWith(prefix) && !declared.has(name))
    for (const name of fileName ? [fileName] : keyed) perVolume.add(name)
  }
  for (const credential of spec.credentials) if (credentialRequest(credential)) perVolume.add(credential.name)
  return perVolume
}
