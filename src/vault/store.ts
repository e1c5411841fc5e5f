import { createCollapse } from '../core/collapse.ts'
import { FaultError } from '../core/faults/fault.ts'
import { trimSlashes } from '../core/identity.ts'
import { isJsonObject } from '../core/json/json.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import type { Meter } from '../core/ports/metrics.ts'
import type { Identity, SecretData, SecretStore } from '../core/ports/vault.ts'
import { answerData } from './answer-data.ts'
import { type Connections, createConnections, type DefaultCa } from './connections.ts'
import { factsOf } from './facts.ts'
import type { Limiter } from './limiter.ts'
import { createLogin, type VaultToken } from './login.ts'
import { refuseOwnToken } from './own-token-fault.ts'
import { isKv2Path, kv2PathFault, readFault, warningFacts } from './read-faults.ts'
import { createTokenLease } from './token-lease.ts'
import { createTokens } from './tokens.ts'
import type { Answer } from './transport.ts'

/**
 * Vault or OpenBao over HTTP. Keeps Vault tokens; keeps no secret once its callers have their answer.
 * @param deps.defaultCa authority for imports without a caCert, asked at each call
 */
export function createSecretStore(deps: {
  clock: Clock
  meter: Meter
  log: Log
  limiter: Limiter
  defaultCa: DefaultCa
  /** Milliseconds a call to Vault may take; default 15,000. */
  callTimeoutMs?: number
  /** Those of an Issuer beside it; default: its own. */
  connections?: Connections
}): SecretStore {
  const { clock, connections = createConnections(deps) } = deps
  const login = createLogin({ ...deps, connections })
  const lease = createTokenLease({ ...deps, connections })
  const tokens = createTokens({ clock, login, lease })
  const reads = createCollapse<SecretData>()

  const get = (identity: Identity, path: string, token: VaultToken, signal: AbortSignal) =>
    // Without naming the token a caller with a fresh token would join the read that is being refused for the old one.
    reads.share(
      `${identity.key}\n${token.accessor} ${token.issuedAt}\n${path}`,
      (shared) => readPath(connections, clock, identity, path, token, shared),
      signal,
    )

  return {
    read: (identity, path, candidates, signal) =>
      tokens.use(identity, candidates, signal, async (access) => {
        try {
          const data = await get(identity, path, access.token, signal)
          access.worked(path)
          return data
        } catch (error) {
          if (!isDenial(error)) throw error
          const other = await access.replace(path)
          if (!other) throw error
          return await get(identity, path, other, signal).catch((again: unknown) => {
            if (isDenial(again)) access.wasNoHelp(path)
            throw again
          })
        }
      }),
    discardToken: tokens.retire,
    authority: connections.authority,
    acquire: tokens.retain,
    release: tokens.release,
    close: async () => {
      lease.stop()
      connections.close()
    },
  }
}

function isDenial(error: unknown): boolean {
  return error instanceof FaultError && error.fault === 'read_denied'
}

/** One path, as whoever holds `token`. @throws FaultError read_denied, path_not_found, kv2_path, version_deleted, … */
export async function readPath(
  connections: Connections,
  clock: Clock,
  identity: Identity,
  path: string,
  token: Pick<VaultToken, 'token'>,
  signal: AbortSignal,
): Promise<SecretData> {
  const { place, ...version } = splitVersion(path)
  const facts = { ...factsOf(identity), path: place, ...version }
  const call = {
    operation: 'read',
    asker: identity.podNamespace,
    endpoint: identity.endpoint,
    method: 'GET',
    token: token.token,
    facts,
  } as const
  const askedAt = clock.monotonic()
  const judge = (answer: Answer): SecretData => {
    if (isKv2Path(answer)) throw kv2PathFault(place, undefined, { ...facts, ...warningFacts(answer) })
    if (answer.status >= 300) throw readFault(answer, place, clock.now(), facts)
    const data = answerData(answer, askedAt)
    if (data === undefined) throw new FaultError('path_not_found', { ...facts, httpStatus: answer.status })
    refuseOwnToken(data, token.token, facts)
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
    return await connections.call({ ...call, path, judge }, signal)
  } catch (error) {
    if (!(error instanceof FaultError) || error.fault !== 'kv2_path') throw error
    // Only Vault knows how many segments the mount has; it tells those who may use something under it.
    const mount = await connections
      .call({ ...call, operation: 'probe', path: `sys/internal/ui/mounts/${place}`, judge: mountOf }, signal)
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
