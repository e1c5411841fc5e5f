import http from 'node:http'
import https from 'node:https'
import tls from 'node:tls'
import type { Clock } from '../core/ports/clock.ts'

/** Connections to one endpoint, kept open for the next call. */
export type Sockets = {
  /** Makes and keeps the connection of a call that starts now. */
  agent(): http.Agent
  /** The server is the wrong one, or unavailable: later calls use new connections. Calls under way are not touched. */
  renew(): void
  /** Breaks what is under way, too. */
  close(): void
}

/** How long an idle connection is kept, in milliseconds: below the 90 s and more of common load balancers. */
const IDLE_MS = 45_000
/** No connection is used for longer, in milliseconds: so that a change of a name or a load balancer is followed. */
const MOST_AGE_MS = 5 * 60_000

export type SocketSettings = {
  address: string
  /** PEM; undefined: the system's authorities. */
  ca: string | undefined
  skipVerify: boolean
  serverName: string | undefined
  maxSockets: number
  clock: Pick<Clock, 'monotonic'>
}

export function createSockets(settings: SocketSettings): Sockets {
  const { clock } = settings
  const connect = connector(settings)
  /** Agents of earlier times whose last calls are under way. */
  let ending: http.Agent[] = []
  let current = connect()
  let openedAt = clock.monotonic()

  const renew = () => {
    ending = [...ending, current].filter(isBusy)
    stopKeeping(current)
    current = connect()
    openedAt = clock.monotonic()
  }

  return {
    agent() {
      if (clock.monotonic() - openedAt >= MOST_AGE_MS) renew()
      return current
    },
    renew,
    close() {
      for (const agent of [...ending, current]) agent.destroy()
      ending = []
    },
  }
}

function connector({ address, ca, skipVerify, serverName, maxSockets }: SocketSettings): () => http.Agent {
  const options = { keepAlive: true, timeout: IDLE_MS, maxFreeSockets: 8, maxSockets }
  if (!address.startsWith('https:')) return () => new http.Agent(options)
  // Once, not for each connection: the authorities may be many.
  const secureContext = tls.createSecureContext(ca === undefined ? {} : { ca })
  return () =>
    new https.Agent({
      ...options,
      secureContext,
      rejectUnauthorized: !skipVerify,
      ...(serverName === undefined ? {} : { servername: serverName }),
    })
}

function isBusy(agent: http.Agent): boolean {
  return Object.keys(agent.sockets).length > 0
}

/** Idle connections close now, busy ones when their call is done. */
function stopKeeping(agent: http.Agent): void {
  agent.maxFreeSockets = 0
  for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy()
}
