import type { Facts } from '../core/faults/facts.ts'
import { FaultError } from '../core/faults/fault.ts'
import { trimSlashes } from '../core/identity.ts'
import { TOKEN_EXPORT_HINT } from '../core/imports/policy.ts'
import { isJsonNumber, isJsonObject } from '../core/json/json.ts'
import type { Json } from '../core/json/types.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Identity, SecretData } from '../core/ports/vault.ts'
import type { SecretText } from '../core/secret.ts'
import type { Connections } from './connections.ts'
import { isKv2Path, kv2PathFault, readFault, warningFacts } from './faults.ts'
import { identityFacts } from './request.ts'
import { answerData, type VaultToken } from './response-data.ts'
import type { Answer } from './transport.ts'

/** Reads one path with `token`. @throws FaultError read_denied, path_not_found, kv2_path, version_deleted, … */
export async function readPath(
  connections: Connections,
  clock: Clock,
  identity: Identity,
  path: string,
  token: Pick<VaultToken, 'token'>,
  signal: AbortSignal,
): Promise<SecretData> {
  const { place, ...version } = splitVersion(path)
  const facts = { ...identityFacts(identity), path: place, ...version }
  const call = {
    operation: 'read',
    asker: identity.podNamespace,
    endpoint: identity.endpoint,
    method: 'GET',
    token: token.token,
    facts,
  } as const
  const askedAt = clock.monotonic()
  const parse = (answer: Answer): SecretData => {
    if (isKv2Path(answer)) throw kv2PathFault(place, undefined, { ...facts, ...warningFacts(answer) })
    if (answer.status >= 300) throw readFault(answer, place, clock.now(), facts)
    const data = answerData(answer, askedAt)
    if (data === undefined) throw new FaultError('path_not_found', { ...facts, httpStatus: answer.status })
    refuseTokenInData(data, token.token, facts)
    // KV v1 and others pass over what they do not know, and the author would believe the version pinned.
    if (version.version !== undefined && data.version === undefined) {
      throw new FaultError('call_refused', {
        ...facts,
        reason: `version ${version.version} is asked for, and only KV version 2 has versions`,
        setting: 'leave version out of the source, or keep the secret in a KV version 2 engine',
      })
    }
    return data
  }
  try {
    return await connections.call({ ...call, path, parse }, signal)
  } catch (error) {
    if (!(error instanceof FaultError) || error.fault !== 'kv2_path') throw error
    // Only Vault knows how many segments the mount has; it answers tokens that may use a path under it.
    const mount = await connections
      .call({ ...call, operation: 'probe', path: `sys/internal/ui/mounts/${place}`, parse: mountOf }, signal)
      .catch(() => undefined)
    throw mount === undefined ? error : kv2PathFault(place, mount, error.facts)
  }
}

/** `secret/data/app?version=3`: the path, which policies name without the version, and the version. */
function splitVersion(path: string): { place: string; version?: number } {
  const [, place = path, version] = /^(.*)\?version=(\d+)$/.exec(path) ?? []
  return version === undefined ? { place } : { place, version: Number(version) }
}

/** Where the engine is mounted, without the slash at the end. */
function mountOf(answer: Answer): string | undefined {
  const data = isJsonObject(answer.body) ? answer.body.data : undefined
  const path = isJsonObject(data) ? data.path : undefined
  return answer.status === 200 && typeof path === 'string' && path.length <= 1024
    ? trimSlashes(path)
    : undefined
}

/** Tokens of at least so many characters are also searched for within texts; those that Vault makes have 26 and more. */
const SHORTEST_PART = 20

/**
 * The last line of defence behind policy.ts: the token of the request never becomes a file's content, whatever the path.
 * Several pods may share it.
 * @throws FaultError policy_refused
 */
export function refuseTokenInData({ values }: SecretData, token: SecretText, facts: Facts): void {
  if (!holdsText(values.values(), token.reveal())) return
  throw new FaultError('policy_refused', {
    ...facts,
    reason: `the answer of ${facts.path} holds the Vault token that asked, which never goes into a file`,
    setting: TOKEN_EXPORT_HINT,
  })
}

/** Iterative, for a response may nest deeper than the call stack. */
function holdsText(values: Iterable<Json>, wanted: string): boolean {
  const open: Json[] = [...values]
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (typeof value === 'string') {
      if (value === wanted || (wanted.length >= SHORTEST_PART && value.includes(wanted))) return true
    } else if (typeof value === 'object' && value !== null && !isJsonNumber(value)) {
      for (const member of Object.values(value)) if (typeof member !== 'boolean') open.push(member)
    }
  }
  return false
}
