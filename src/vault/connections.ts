import type { Facts } from '../core/faults/facts.ts'
import { FaultError, toFault } from '../core/faults/fault.ts'
import type { ParseResponse } from '../core/json/vault-response.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Meter } from '../core/ports/metrics.ts'
import type { VaultEndpoint } from '../core/ports/vault.ts'
import type { SecretText } from '../core/secret.ts'
import { createClients } from './clients.ts'
import { connectionFault, retryAfterMs } from './faults.ts'
import type { Caller } from './lane.ts'
import type { Limiter } from './limiter.ts'
import type { Answer } from './transport.ts'

/** The authority for endpoints whose import names none; read at each use, for the file may change. */
export type DefaultCa = () => { pem: string | undefined; source: string }

export type Operation = 'login' | 'renew' | 'read' | 'issue' | 'revoke' | 'probe'

export type Call<T> = {
  operation: Operation
  /** Kubernetes namespace of the pod for which it is made: calls are queued fairly by it; '' for none. */
  asker: string
  endpoint: VaultEndpoint
  method: 'GET' | 'POST' | 'PUT'
  /** API path without /v1/. */
  path: string
  body?: object
  /** Headers besides token and namespace. */
  headers?: Readonly<Record<string, string>>
  token?: SecretText
  /** Facts of errors besides the address. */
  facts: Facts
  /** Makes the result of Vault's response. @throws FaultError */
  parse(answer: Answer): T
}

export type Connections = {
  /**
   * One call to Vault: limited, timed, counted.
   * @throws FaultError tls, unreachable, rate_limited, vault_error, import_too_large for a path that is too long, and
   * what `parse` throws; else the signal's reason
   */
  call<T>(call: Call<T>, signal: AbortSignal): Promise<T>
  /** PEM of the authorities that verify the endpoint; undefined: the system's, or none for http. */
  authority(endpoint: VaultEndpoint): string | undefined
  close(): void
}

/** Milliseconds. */
const CALL_TIMEOUT_MS = 15_000
/** Bytes. Vault's integrated storage holds entries of 1 MiB; others hold more. */
const MAX_BODY_BYTES = 4 * 1024 * 1024

/** Characters. Vault's own paths are far shorter; a server takes some 16,000 with all headers. */
const MAX_PATH = 4_096
/** Tokens and leases in use must go on, or must end: these go before the same namespace's reads. */
const urgent: readonly Operation[] = ['login', 'renew', 'revoke']

/** Connections to Vault, one client per endpoint: address, authority, verification and server name. */
export function createConnections(deps: {
  clock: Clock
  meter: Meter
  limiter: Limiter
  defaultCa: DefaultCa
  callTimeoutMs?: number
  maxBodyBytes?: number
  parseAnswer?: ParseResponse
}): Connections {
  const { clock, meter, limiter, defaultCa } = deps
  const clients = createClients({
    clock,
    callTimeoutMs: deps.callTimeoutMs ?? CALL_TIMEOUT_MS,
    maxBodyBytes: deps.maxBodyBytes ?? MAX_BODY_BYTES,
    maxSockets: limiter.concurrency,
    ...(deps.parseAnswer ? { parseAnswer: deps.parseAnswer } : {}),
  })

  const exchange = async (call: Call<unknown>, signal: AbortSignal): Promise<Answer> => {
    const { endpoint, method, path, body, token } = call
    const { pem, source } = authorityFor(endpoint, defaultCa)
    try {
      return await clients.use({ endpoint, ca: pem, opener: call.asker }, (client) =>
        client.request({
          path: `/${path}`,
          method,
          headers: { ...call.headers, ...headersOf(endpoint, token) },
          ...(body === undefined ? {} : { json: body }),
          podNamespace: call.asker,
          signal,
        }),
      )
    } catch (error) {
      signal.throwIfAborted()
      throw connectionFault(error, { ...call.facts, address: endpoint.address, caSource: source })
    }
  }

  const obey = (caller: Caller, answer: Answer) => {
    if (answer.status !== 429 && answer.status !== 503) return
    const pauseMs = retryAfterMs(answer, clock.now())
    if (pauseMs === undefined) return
    if (answer.status === 429) limiter.limited(caller, pauseMs)
    else limiter.pauseAll(caller.address, pauseMs)
  }

  const metered = async <T>(call: Call<T>, caller: Caller, signal: AbortSignal): Promise<T> => {
    const startedAt = clock.monotonic()
    const count = (result: string) =>
      meter.vaultCall(call.operation, result, (clock.monotonic() - startedAt) / 1000)
    try {
      const answer = await exchange(call, signal)
      obey(caller, answer)
      const result = call.parse(answer)
      count('ok')
      return result
    } catch (error) {
      count(signal.aborted ? 'aborted' : toFault(error).fault)
      throw error
    }
  }

  return {
    call: async (call, signal) => {
      const caller = callerOf(call)
      try {
        checkPath(call.path)
        return await limiter.run(caller, () => metered(call, caller, signal), signal)
      } catch (error) {
        throw error instanceof FaultError ? error.with(call.facts) : error
      }
    },
    authority: (endpoint) => authorityFor(endpoint, defaultCa).pem,
    close: clients.close,
  }
}

function callerOf({ operation, asker, endpoint, path }: Call<unknown>): Caller {
  const { address, namespace } = endpoint
  return { address, asker, mount: `${namespace}|${mountOf(path)}`, isUrgent: urgent.includes(operation) }
}

/** The first segment, or two for an auth mount: where it is mounted deeper, that is near enough. */
function mountOf(path: string): string {
  const [first = '', second = ''] = path.split(/[/?]/, 2)
  return first === 'auth' ? `${first}/${second}` : first
}

/** @throws FaultError import_too_large */
function checkPath(path: string): void {
  if (path.length <= MAX_PATH) return
  throw new FaultError('import_too_large', {
    path: `${path.slice(0, 100)}…`,
    reason: `a path of ${path.length} characters, where ${MAX_PATH} are sent at most`,
    setting: 'shorten the path of the source in the import',
  })
}

function authorityFor(endpoint: VaultEndpoint, defaultCa: DefaultCa): ReturnType<DefaultCa> {
  if (!endpoint.address.startsWith('https:')) return { pem: undefined, source: 'none' }
  if (endpoint.caCert !== undefined) return { pem: endpoint.caCert, source: "the import's caCert" }
  return defaultCa()
}

function headersOf(endpoint: VaultEndpoint, token: SecretText | undefined): Record<string, string> {
  return {
    ...(token === undefined ? {} : { 'X-Vault-Token': token.reveal() }),
    ...(endpoint.namespace === '' ? {} : { 'X-Vault-Namespace': endpoint.namespace }),
  }
}
