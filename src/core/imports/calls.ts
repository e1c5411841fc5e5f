/** One call to Vault in an import. */
export type Call = {
  /** Calls with equal keys are one call with one answer: it contains everything that could change the answer. */
  key: string
  method: 'GET' | 'PUT' | 'POST'
  /** Full API path without /v1/. */
  path: string
  /** KV v2 version; undefined: the latest. */
  version: number | undefined
  /** Body of PUT and POST. */
  data: Readonly<Record<string, unknown>> | undefined
  /** Every caller gets a new answer: it is issued once per volume and not repeated by scheduled refreshes. */
  isIssued: boolean
  /** Percent of the lease's lifetime after which it is renewed or replaced. */
  renewAt: number
  revokeOnUnmount: boolean
}

/** A call of spec.sources, with its name. */
export type NamedCall = { name: string; call: Call }

/** Default percent of its lifetime after which a lease, token or certificate is renewed. */
export const RENEW_AT = 66

/** A request for a lease of one volume. */
export type IssueRequest = {
  /** Unique in the import; the call's key for a call. */
  key: string
  renewAt: number
  revokeOnUnmount: boolean
} & (
  | { kind: 'call'; call: Call }
  /** The pod's own Vault token. */
  | { kind: 'token' }
  /** A secret ID of the AppRole `role` at the auth mount `authPath`: response-wrapped for some seconds, or plain. */
  | { kind: 'secret-id'; role: string; authPath: string; isWrapped: boolean }
)

/** A read of `path`, in the latest version by default. Its answer is shared with other volumes of the same identity. */
export function readCall(path: string, version?: number): Call {
  return {
    key: version ? `${path}?version=${version}` : path,
    method: 'GET',
    path,
    version: version || undefined,
    data: undefined,
    isIssued: false,
    renewAt: RENEW_AT,
    revokeOnUnmount: true,
  }
}

/** A call of spec.sources. Issued calls with different names are different calls: the author wants two leases. */
export function sourceCall(source: {
  name: string
  path: string
  method: Call['method']
  version: number | undefined
  data: Call['data']
  lease: { renewAt: number | undefined; revokeOnUnmount: boolean | undefined } | undefined
}): Call {
  const { name, path, method, version, data, lease } = source
  const read = readCall(path, version)
  const isIssued = method !== 'GET' || lease !== undefined
  return {
    ...read,
    key: isIssued ? `${name}: ${method} ${read.key} ${canonical(data ?? {})}` : read.key,
    method,
    data,
    isIssued,
    renewAt: lease?.renewAt ?? RENEW_AT,
    revokeOnUnmount: lease?.revokeOnUnmount ?? true,
  }
}

export function issueRequestFor(call: Call): IssueRequest {
  const { key, renewAt, revokeOnUnmount } = call
  return { key, renewAt, revokeOnUnmount, kind: 'call', call }
}

/** JSON with sorted keys: equal data give equal texts. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([one], [other]) => (one < other ? -1 : 1)))
      : member,
  )
}
