/** One call to Vault, as the manifests of another system describe it. */
export type VaultCall = {
  /** Full API path without /v1/. */
  path: string
  method: 'GET' | 'PUT' | 'POST'
  /** Body of PUT and POST. */
  data: Readonly<Record<string, unknown>> | undefined
  /** KV v2 version; undefined: the latest. */
  version: number | undefined
}

/** A valid path of an import. */
const PATH = /^[-a-zA-Z0-9_./]+$/
/** Paths where a read issues new credentials. */
const LEASED = /(^|\/)(creds|sts)\/[^/]+$/

/** @returns the call, or what is wrong with the path */
export function vaultCall(
  path: string,
  rest: Partial<Omit<VaultCall, 'path'>> = {},
): { call: VaultCall } | { fault: string } {
  const clean = path
    .trim()
    .replace(/^\/?(v1\/)?/, '')
    .replaceAll(/\/+/g, '/')
    .replace(/\/$/, '')
  const isUsable =
    PATH.test(clean) && !clean.split('/').some((segment) => segment === '.' || segment === '..')
  if (!isUsable)
    return {
      fault: `the path ${JSON.stringify(path)} has characters that spec.files[].source.path does not allow`,
    }
  return { call: { path: clean, method: rest.method ?? 'GET', data: rest.data, version: rest.version } }
}

/** Issued for each volume, with a lease that is renewed and revoked. */
export function isLeased({ method, path }: VaultCall): boolean {
  return method === 'GET' && LEASED.test(path)
}

/** Whether a file can refer to it by its path, without an entry in spec.sources. */
export function isPlain(call: VaultCall): boolean {
  return call.method === 'GET' && call.version === undefined && !isLeased(call)
}

/** Whether the path is one of KV v2: the engine's mount, then `data`. */
export function hasDataSegment(path: string): boolean {
  return path.split('/').slice(1, -1).includes('data')
}

/** Equal for equal calls. */
export function callKey({ path, method, data, version }: VaultCall): string {
  const sorted = Object.entries(data ?? {}).sort(([one], [other]) => (one < other ? -1 : 1))
  return JSON.stringify([method, path, version ?? 0, sorted])
}
