import { hash } from 'node:crypto'
import type { ParseResponse } from '../core/json/vault-response.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { VaultEndpoint } from '../core/ports/vault.ts'
import { createNodeVault, type NodeVault } from './node-vault.ts'
import { createTransport, type Transport } from './transport.ts'

/** Clients of Vault, one for each way to reach it: address, authority, verification and server name. */
export type Clients = {
  /**
   * @param opener for whom it would be made
   * @param ca PEM; undefined: the system's authorities, or none for http
   * @throws what `task` throws, and OpenSSL's error for authorities that are none
   */
  use<T>(
    to: { endpoint: VaultEndpoint; ca: string | undefined; opener: string },
    task: (client: NodeVault) => Promise<T>,
  ): Promise<T>
  /** How many are kept. */
  readonly size: number
  close(): void
}

/** Not used for so long, in milliseconds, a client is given up with its connections. */
const IDLE_MS = 5 * 60_000
/** A node speaks to few servers: more than these are the work of imports that name one authority after the other. */
const MOST_CLIENTS = 64
/** Of those that calls of one asker have made. Beyond it the asker's own go first. */
const MOST_OF_OPENER = 16

type Entry = {
  opener: string
  transport: Transport
  client: NodeVault
  usedAt: number
  calls: number
  isGivenUp: boolean
}

export function createClients(deps: {
  clock: Clock
  callTimeoutMs: number
  maxBodyBytes: number
  maxSockets: number
  parseAnswer?: ParseResponse
}): Clients {
  const { clock, maxSockets } = deps
  /** The one used last comes last. */
  const entries = new Map<string, Entry>()
  let cancelSweep: (() => void) | undefined

  const closeIfDone = (entry: Entry) => {
    if (entry.isGivenUp && entry.calls === 0) entry.transport.close()
  }

  const giveUp = (key: string, entry: Entry) => {
    entries.delete(key)
    entry.isGivenUp = true
    closeIfDone(entry)
  }

  const sweep = () => {
    const now = clock.monotonic()
    for (const [key, entry] of entries) {
      if (entry.calls === 0 && now - entry.usedAt >= IDLE_MS) giveUp(key, entry)
    }
    cancelSweep = entries.size === 0 ? undefined : clock.after(IDLE_MS, sweep)
  }

  const makeRoom = (opener: string) => {
    const own = [...entries].filter(([, entry]) => entry.opener === opener)
    const [oldest] = own.length >= MOST_OF_OPENER ? own : entries.size >= MOST_CLIENTS ? entries : []
    if (oldest !== undefined) giveUp(...oldest)
  }

  const open = (endpoint: VaultEndpoint, ca: string | undefined, opener: string): Entry => {
    const { address, skipTLSVerify, tlsServerName } = endpoint
    const transport = createTransport({
      address,
      ca,
      skipVerify: skipTLSVerify,
      serverName: tlsServerName,
      timeoutMs: deps.callTimeoutMs,
      maxBodyBytes: deps.maxBodyBytes,
      maxSockets,
      ...(deps.parseAnswer ? { parseAnswer: deps.parseAnswer } : {}),
      clock,
    })
    const client = createNodeVault(address, transport.send)
    return { opener, transport, client, usedAt: 0, calls: 0, isGivenUp: false }
  }

  const entryOf = (endpoint: VaultEndpoint, ca: string | undefined, opener: string): Entry => {
    const { address, skipTLSVerify, tlsServerName } = endpoint
    const authority = ca === undefined ? '' : hash('sha256', ca, 'base64url')
    const key = JSON.stringify([address, authority, skipTLSVerify, tlsServerName])
    const known = entries.get(key)
    if (known === undefined) makeRoom(opener)
    const entry = known ?? open(endpoint, ca, opener)
    entries.delete(key)
    entries.set(key, entry)
    cancelSweep ??= clock.after(IDLE_MS, sweep)
    return entry
  }

  return {
    async use({ endpoint, ca, opener }, task) {
      const entry = entryOf(endpoint, ca, opener)
      entry.calls += 1
      try {
        return await task(entry.client)
      } finally {
        entry.calls -= 1
        entry.usedAt = clock.monotonic()
        closeIfDone(entry)
      }
    },
    get size() {
      return entries.size
    },
    close() {
      cancelSweep?.()
      cancelSweep = undefined
      for (const { transport } of entries.values()) transport.close()
      entries.clear()
    },
  }
}
