import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Connections at a time: probes, some scrapers, and room. */
const MOST_CONNECTIONS = 64
/** Answers of one connection: who wants more comes again. */
const MOST_ANSWERS = 100

/** New connections of one address: so many at once, and so many a second from then on. */
const BURST = 64
const EACH_SECOND = 20
/** Addresses that are remembered. */
const MOST_ADDRESSES = 1_000

type Place = { key: string; address: string; socket: Socket; isAnswered: boolean }

/**
 * Limits what an HTTP server's clients can hold, and how often they can come. A newcomer of an address that does not
 * come too often is always let in: when all places are taken, one goes of the address that has the most, which is no
 * probe's. To refuse newcomers would let whoever comes first shut out the probe that decides whether this process lives.
 */
export function keepDoor(server: Server): void {
  /** By the other side's address and port, the longest unused first. */
  const places = new Map<string, Place>()
  const isTooOften = createCounter()

  // Of a TLS server too this is the raw connection: a handshake that is never made holds a place as well.
  server.on('connection', (socket: Socket) => {
    if (isTooOften(socket.remoteAddress ?? '')) return void socket.destroy()
    const key = peerOf(socket)
    const place = { key, address: socket.remoteAddress ?? '', socket, isAnswered: false }
    places.set(key, place)
    socket.once('close', () => {
      if (places.get(key) === place) places.delete(key)
    })
    if (places.size > MOST_CONNECTIONS) drop(leastMissed(places))
  })
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const place = places.get(peerOf(request.socket))
    if (place === undefined) return
    // Several requests at once are nothing that a probe or a scraper sends.
    if (place.isAnswered) return drop(place)
    places.delete(place.key)
    places.set(place.key, place)
    place.isAnswered = true
    response.once('close', () => {
      place.isAnswered = false
    })
  })
  server.maxRequestsPerSocket = MOST_ANSWERS

  function drop({ key, socket }: Place): void {
    places.delete(key)
    socket.destroy()
  }
}

/** The longest unused of the address with the most places; one that waits for no answer, if there is any. */
function leastMissed(places: ReadonlyMap<string, Place>): Place {
  const counts = new Map<string, number>()
  for (const { address } of places.values()) counts.set(address, (counts.get(address) ?? 0) + 1)
  const rank = ({ address, isAnswered }: Place) => (counts.get(address) ?? 0) * 2 + (isAnswered ? 0 : 1)
  return [...places.values()].reduce((worst, place) => (rank(place) > rank(worst) ? place : worst))
}

/** The same for a TLS connection and the one beneath it. */
function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}

/** Whether an address comes once more than it may: a bucket for each, which time fills. */
function createCounter(): (address: string) => boolean {
  const buckets = new Map<string, { left: number; at: number }>()
  return (address) => {
    const now = performance.now()
    const { left, at } = buckets.get(address) ?? { left: BURST, at: now }
    const filled = Math.min(BURST, left + ((now - at) / 1000) * EACH_SECOND)
    buckets.delete(address)
    buckets.set(address, { left: Math.max(filled - 1, 0), at: now })
    const [oldest] = buckets.keys()
    if (buckets.size > MOST_ADDRESSES && oldest !== undefined) buckets.delete(oldest)
    return filled < 1
  }
}
