import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Connections at a time: probes, some scrapers, and room. */
const MOST_CONNECTIONS = 64
/** Responses on one connection: for more a client reconnects. */
const MOST_RESPONSES = 100

/** New connections of one address: a burst, then a rate. */
const BURST = 64
const PER_SECOND = 20
/** Addresses whose rate is remembered. */
const MOST_ADDRESSES = 1_000

type Connection = { key: string; address: string; socket: Socket; hasOpenRequest: boolean }

/**
 * Limits the number and the rate of an HTTP server's connections. A new connection of an address within its rate is
 * always accepted: at the limit, one of the address with the most connections is closed, which is not kubelet's. Refusing
 * new connections instead would let early clients lock out the probe that decides whether this process is restarted.
 */
export function limitConnections(server: Server): void {
  /** By peer address and port, the longest unused first. */
  const connections = new Map<string, Connection>()
  const isOverRate = createRateLimit()

  // With TLS this is the raw connection: a handshake that never completes counts too.
  server.on('connection', (socket: Socket) => {
    if (isOverRate(socket.remoteAddress ?? '')) return void socket.destroy()
    const key = peerOf(socket)
    const connection = { key, address: socket.remoteAddress ?? '', socket, hasOpenRequest: false }
    connections.set(key, connection)
    socket.once('close', () => {
      if (connections.get(key) === connection) connections.delete(key)
    })
    if (connections.size > MOST_CONNECTIONS) drop(leastNeeded(connections))
  })
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const connection = connections.get(peerOf(request.socket))
    if (connection === undefined) return
    // No probe or scraper sends a second request before the first is answered.
    if (connection.hasOpenRequest) return drop(connection)
    connections.delete(connection.key)
    connections.set(connection.key, connection)
    connection.hasOpenRequest = true
    response.once('close', () => {
      connection.hasOpenRequest = false
    })
  })
  server.maxRequestsPerSocket = MOST_RESPONSES

  function drop({ key, socket }: Connection): void {
    connections.delete(key)
    socket.destroy()
  }
}

/** The longest unused connection of the address with the most; one without an open request, if any. */
function leastNeeded(connections: ReadonlyMap<string, Connection>): Connection {
  const counts = new Map<string, number>()
  for (const { address } of connections.values()) counts.set(address, (counts.get(address) ?? 0) + 1)
  const rank = ({ address, hasOpenRequest }: Connection) =>
    (counts.get(address) ?? 0) * 2 + (hasOpenRequest ? 0 : 1)
  return [...connections.values()].reduce((worst, connection) =>
    rank(connection) > rank(worst) ? connection : worst,
  )
}

/** The same for a TLS connection and its raw connection. */
function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}

/** Whether a new connection exceeds its address's rate: a token bucket for each address. */
function createRateLimit(): (address: string) => boolean {
  const buckets = new Map<string, { left: number; at: number }>()
  return (address) => {
    const now = performance.now()
    const { left, at } = buckets.get(address) ?? { left: BURST, at: now }
    const filled = Math.min(BURST, left + ((now - at) / 1000) * PER_SECOND)
    buckets.delete(address)
    buckets.set(address, { left: Math.max(filled - 1, 0), at: now })
    const [oldest] = buckets.keys()
    if (buckets.size > MOST_ADDRESSES && oldest !== undefined) buckets.delete(oldest)
    return filled < 1
  }
}
