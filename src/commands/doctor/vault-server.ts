import { FaultError } from '../../core/faults/fault.ts'
import { isJsonObject } from '../../core/json/json.ts'
import type { VaultEndpoint } from '../../core/ports/vault.ts'
import type { Connections } from '../../vault/connections.ts'
import type { Answer } from '../../vault/transport.ts'
import { ok, type Verdict, warn } from './report.ts'

/** sys/health statuses of servers that serve requests. */
const states: Readonly<Record<number, string>> = {
  200: 'active',
  429: 'standby, which forwards requests to the active node',
  473: 'performance standby',
}

/**
 * Whether Vault can be reached, its certificate is valid, and it serves requests.
 * @param caSource where the CA comes from
 * @throws FaultError tls, unreachable, sealed, standby, vault_error
 */
export async function checkVaultServer(
  connections: Connections,
  endpoint: VaultEndpoint,
  caSource: string,
  signal: AbortSignal,
): Promise<Verdict> {
  const { address } = endpoint
  const answer = await connections.call(
    {
      operation: 'probe',
      asker: '',
      // Vault reports its state only in the root namespace.
      endpoint: { ...endpoint, namespace: '' },
      method: 'GET',
      path: 'sys/health',
      facts: {},
      parse: (given: Answer) => given,
    },
    signal,
  )
  const { state, version } = readState(answer, address)
  const detail = `${address} is ${state}${version}, ${describeTransport(endpoint, caSource)}`
  if (address.startsWith('http:')) {
    return warn(detail, 'use https: tokens and secrets cross the network in clear text')
  }
  if (endpoint.skipTLSVerify) {
    return warn(
      detail,
      'set the CA (spec.caCert or --vault-ca-cert) and verify: anyone could impersonate Vault',
    )
  }
  return ok(detail)
}

function readState({ status, body }: Answer, address: string): { state: string; version: string } {
  const facts = { address, httpStatus: status }
  const isHealth = isJsonObject(body) && 'sealed' in body
  const version = isHealth && typeof body.version === 'string' ? `, version ${body.version}` : ''
  const state = states[status]
  if (state !== undefined && isHealth) return { state, version }
  if (status === 503 && isHealth) throw new FaultError('sealed', facts)
  if (status === 472)
    throw new FaultError('standby', { ...facts, reason: 'it is a disaster-recovery secondary' })
  if (status === 501) throw new FaultError('vault_error', { ...facts, reason: 'it is not initialised' })
  if (status === 429) throw new FaultError('rate_limited', facts)
  throw new FaultError('vault_error', {
    ...facts,
    reason: 'which is no answer of sys/health: is it a Vault?',
  })
}

function describeTransport({ address, skipTLSVerify }: VaultEndpoint, caSource: string): string {
  if (address.startsWith('http:')) return 'plain http'
  return skipTLSVerify ? 'its certificate is not verified' : `its certificate verified against ${caSource}`
}
