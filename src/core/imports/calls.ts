import type { Value } from '../json/value.ts'

/** One call to Vault that an import asks for. */
export type Call = {
  /** Equal keys are one call with one answer: of everything that could change the answer, nothing is left out. */
  key: string
  method: 'GET' | 'PUT' | 'POST'
  /** Full API path without /v1/. */
  path: string
  /** KV v2 version; undefined: the latest. */
  version: number | undefined
  /** Body of PUT and POST. */
  data: Readonly<Record<string, unknown>> | undefined
  /** Its answer is made anew for whoever asks: one for each volume, never asked for by the clock. */
  isIssued: boolean
  /** Percent of the answer's life after which it is renewed or replaced. */
  renewAt: number
  revokeOnUnmount: boolean
}

/** A call that spec.sources gives a name. */
export type NamedCall = { name: string; call: Call }

/** Percent of its life after which a lease, a token or a certificate is renewed when the import does not say. */
export const RENEW_AT = 66

/** What a volume has made for itself alone. */
export type IssueRequest = {
  /** Unique in the import. That of the call, where there is one. */
  key: string
  renewAt: number
  revokeOnUnmount: boolean
} & (
  | { kind: 'call'; call: Call }
  /** The pod's own Vault token. */
  | { kind: 'token' }
  /** A secret ID of an AppRole: `role` at the auth mount `authPath`, wrapped for some seconds or plain. */
  | { kind: 'secret-id'; role: string; authPath: string; isWrapped: boolean }
)

/** The latest of what stands at `path`, read and shared by all who may. */
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

/** A call of spec.sources. Two names are two calls where the answer is made anew: the author wants two. */
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

/** JSON with the keys of every object in order: equal data give equal texts. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([one], [other]) => (one < other ? -1 : 1)))
      : member,
  )
}

/** What Vault answered to a call or an order, as templates and formats see it. */
export type Values = ReadonlyMap<string, Value>
