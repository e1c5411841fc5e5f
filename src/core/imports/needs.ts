import { type Call, type IssueRequest, issueRequestFor, RENEW_AT } from './calls.ts'
import type { CredentialSpec, ImportSpec } from './import.ts'

/** What an import needs of Vault: calls whose answers all may share, and orders whose answers are the volume's alone. */
export type Needs = { reads: Call[]; issueRequests: IssueRequest[] }

/** @param isLeased whether a read is known to give each asker an answer of its own, as `database/creds/…` does */
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

/** What must be issued for a credential; undefined for one that holds nothing of the pod's own. */
export function credentialRequest(credential: CredentialSpec): IssueRequest | undefined {
  const { format, role, authPath } = credential
  const common = { renewAt: RENEW_AT, revokeOnUnmount: true }
  if (format === 'CABundle') return undefined
  // One token for all files that hold it.
  if (format === 'Token' || format === 'KubernetesVaultToken') {
    return { ...common, key: 'credential: token', kind: 'token' }
  }
  const isWrapped = format === 'WrappedSecretID'
  const key = `credential: ${isWrapped ? 'wrapped ' : ''}secret ID of ${authPath}/${role}`
  return { ...common, key, kind: 'secret-id', role, authPath, isWrapped }
}

/**
 * Files of the import into which something goes that is issued to one volume alone.
 * @param names of all files that were made
 */
export function perVolumeFiles(
  spec: ImportSpec,
  requests: readonly IssueRequest[],
  names: readonly string[],
): ReadonlySet<string> {
  const keys = new Set(requests.map(({ key }) => key))
  const own = new Set<string>()
  const declared = new Set([...spec.files, ...spec.credentials].map(({ name }) => name))
  for (const { name, call, named } of spec.files) {
    if ([call, ...named.map((source) => source.call)].some(({ key }) => keys.has(key))) own.add(name)
  }
  for (const { call, fileName, prefix } of spec.dataFrom) {
    if (!keys.has(call.key)) continue
    // A file for each key: which they are only their names tell. Better one too many than pods that write in turns.
    const keyed = names.filter((name) => name.startsWith(prefix) && !declared.has(name))
    for (const name of fileName ? [fileName] : keyed) own.add(name)
  }
  for (const credential of spec.credentials) if (credentialRequest(credential)) own.add(credential.name)
  return own
}
