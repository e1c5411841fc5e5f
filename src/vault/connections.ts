import type { ParseAnswer } from '../core/answer.ts'
import { type Facts, FaultError, toFault } from '../core/errors.ts'
import type { Clock, Meter, VaultEndpoint } from '../core/ports.ts'
import type { SecretText } from '../core/secret.ts'
import { connectionFault, retryAfterMs } from './faults.ts'
import type { Limiter } from './limiter.ts'
import { createNodeVault, type NodeVault } from './node-vault.ts'
import { type Answer, createTransport, type Transport } from './transport.ts'

/** The authority for endpoints whose import names none; read at each use, for the file may change. */
export type DefaultCa = () => { pem: string | undefined; source: string }

export type Operation = 'login' | 'renew' | 'read' | 'issue' | 'revoke' | 'probe'

export type Call<T> = {
  operation: Operation
  endpoint: VaultEndpoint
  method: 'GET' | 'POST' | 'PUT'
  /** API path without /v1/. */
  path: string
  body?: object
  /** Headers besides token and namespace. */
  headers?: Readonly<Record<string, string>>
  token?: SecretText
  /** What errors tell besides the address. */
  facts: Facts
  /** Makes the result of Vault's answer. @throws FaultError */
  judge(answer: Answer): T
}

export type Connections = {
  /**
   * One call to Vault: limited, timed, counted.
   * @throws FaultError tls, unreachable, rate_limited, vault_error, and what `judge` throws; else the signal's reason
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

type Connection = { ca: string | undefined; transport: Transport; client: NodeVault }

/** Connections to Vault, one client per endpoint: address, authority, verification and server name. */
export function createConnections(deps: {
  clock: Clock
  meter: Meter
  limiter: Limiter
  defaultCa: DefaultCa
  callTimeoutMs?: number
  maxBodyBytes?: number
  parseAnswer?: ParseAnswer
}): Connections {
  const { clock, meter, limiter, defaultCa } = deps
  const open = new Map<string, Connection>()

  const connect = (endpoint: VaultEndpoint, ca: string | undefined): Connection => {
    const { address, caCert, skipTLSVerify, tlsServerName } = endpoint
    const key = JSON.stringify([address, caCert, skipTLSVerify, tlsServerName])
    const existing = open.get(key)
    if (existing && existing.ca === ca) return existing
    // After a change of the authority the old connections go idle and close by themselves.
    const transport = createTransport({
      address,
      ca,
      skipVerify: skipTLSVerify,
      serverName: tlsServerName,
      timeoutMs: deps.callTimeoutMs ?? CALL_TIMEOUT_MS,
      maxBodyBytes: deps.maxBodyBytes ?? MAX_BODY_BYTES,
      ...(deps.parseAnswer ? { parseAnswer: deps.parseAnswer } : {}),
      clock,
    })
    const connection = { ca, transport, client: createNodeVault(address, transport.send) }
    open.set(key, connection)
    return connection
  }

  const exchange = async (call: Call<unknown>, signal: AbortSignal): Promise<Answer> => {
    const { endpoint, method, path, body, token } = call
    const { pem, source } = authorityFor(endpoint, defaultCa)
    try {
      return await connect(endpoint, pem).client.request({
        path: `/${path}`,
        method,
        headers: { ...call.headers, ...headersOf(endpoint, token) },
        ...(body === undefined ? {} : { json: body }),
        podNamespace: call.facts.podNamespace ?? '',
        signal,
      })
    } catch (error) {
      signal.throwIfAborted()
      throw connectionFault(error, { ...call.facts, address: endpoint.address, caSource: source })
    }
  }

  const obey = (endpoint: VaultEndpoint, answer: Answer) => {
    if (answer.status !== 429 && answer.status !== 503) return
    const pauseMs = retryAfterMs(answer, clock.now())
    if (pauseMs !== undefined) limiter.pause(endpoint.address, clock.now() + pauseMs)
  }

  const metered = async <T>(call: Call<T>, signal: AbortSignal): Promise<T> => {
    const startedAt = clock.now()
    const count = (result: string) =>
      meter.vaultCall(call.operation, result, (clock.now() - startedAt) / 1000)
    try {
      const answer = await exchange(call, signal)
      obey(call.endpoint, answer)
      const result = call.judge(answer)
      count('ok')
      return result
    } catch (error) {
      count(signal.aborted ? 'aborted' : toFault(error).fault)
      throw error
    }
  }

  return {
    call: async (call, signal) => {
      try {
        return await limiter.run(call.endpoint.address, () => metered(call, signal), signal)
      } catch (error) {
        throw error instanceof FaultError ? error.with(call.facts) : error
      }
    },
    authority: (endpoint) => authorityFor(endpoint, defaultCa).pem,
    close: () => {
      for (const { transport } of open.values()) transport.close()
      open.clear()
    },
  }
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
