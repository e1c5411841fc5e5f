import { readFile } from 'node:fs/promises'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer, type ServerOptions } from 'node:https'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { keepDoor } from './doorkeeper.ts'

/** Why it is not well, in words for the operator; undefined: it is well. */
export type Check = () => string | undefined | Promise<string | undefined>

export type HttpHandlers = {
  metrics: () => Promise<{ contentType: string; body: string }>
  healthy: Check
  ready: Check
}

/** Paths of PEM files. With a client CA only clients that have a certificate of it are answered. */
export type HttpTls = { certPath: string; keyPath: string; clientCaPath: string | undefined }

export type HttpServer = {
  /** The port it listens on, chosen by the system when 0 was asked for. */
  port: number
  /** Reads the TLS files anew; open connections go on. On failure the old ones stay. @throws Error of the file system or TLS */
  reload(): Promise<void>
  /** Answers what is under way, takes nothing new. */
  close(): Promise<void>
}

type Answer = { status: number; contentType: string; body: Buffer }

/**
 * Serves /metrics, /healthz and /readyz to GET and HEAD. Nothing else is answered but 404 and 405.
 * Whoever reaches the port may hold connections: kubelet's probe is answered all the same, see keepDoor.
 * @throws Error of the system when the address cannot be listened on or a TLS file not be read
 */
export async function startHttp(options: {
  addr: { host: string; port: number }
  tls?: HttpTls | undefined
  handlers: HttpHandlers
}): Promise<HttpServer> {
  const { addr, tls, handlers } = options
  const listener = listen({ ...handlers, metrics: inTurns(handlers.metrics) })
  const secure = tls && createTlsServer({ ...limits, ...(await readTls(tls)) }, listener)
  const server: Server = secure ?? createServer(limits, listener)
  keepDoor(server)
  await started(server, addr)
  return {
    port: (server.address() as AddressInfo).port,
    async reload() {
      if (tls) secure?.setSecureContext(await readTls(tls))
    },
    close: () => closed(server),
  }
}

/** A scraper that says nothing is not waited for, and one that pauses comes by a new connection. */
const limits = {
  headersTimeout: 3_000,
  requestTimeout: 5_000,
  connectionsCheckingInterval: 500,
  keepAliveTimeout: 2_000,
  handshakeTimeout: 2_000,
  // Room for the bearer token of a scraper.
  maxHeaderSize: 8_192,
}

/** The page costs some milliseconds, however many ask for it: who comes too soon waits for the next, made for all who do. */
function inTurns(render: HttpHandlers['metrics']): () => Promise<Omit<Answer, 'status'>> {
  let madeAt = Number.NEGATIVE_INFINITY
  let next: Promise<Omit<Answer, 'status'>> | undefined
  const make = async () => {
    await sleep(Math.max(madeAt + METRICS_PAUSE_MS - performance.now(), 0))
    // From here on it may hold less than what happens: who comes now gets another.
    next = undefined
    madeAt = performance.now()
    const { contentType, body } = await render()
    return { contentType, body: Buffer.from(body) }
  }
  return () => {
    next ??= make()
    return next
  }
}

const METRICS_PAUSE_MS = 100

type Handlers = Omit<HttpHandlers, 'metrics'> & { metrics: () => Promise<Omit<Answer, 'status'>> }

function listen(handlers: Handlers): RequestListener {
  return (request, response) => {
    // One of many requests at once, which the parser goes on to hand out though keepDoor has shut the door.
    if (request.socket.destroyed) return
    void answer(request.method, request.url, handlers).then(({ status, contentType, body }) => {
      // keepDoor has shut the door meanwhile.
      if (request.socket.destroyed) return
      // No request here has a body: of one that has, nothing is read.
      if (!request.complete) response.setHeader('connection', 'close')
      response.writeHead(status, {
        'content-type': contentType,
        'content-length': body.byteLength,
        'cache-control': 'no-store',
        ...(status === 405 && { allow: 'GET, HEAD' }),
      })
      response.end(request.method === 'HEAD' ? undefined : body)
    })
  }
}

async function answer(method: string | undefined, url = '', handlers: Handlers): Promise<Answer> {
  const [path] = url.split('?')
  try {
    if (path !== '/metrics' && path !== '/healthz' && path !== '/readyz') return plain(404, 'not found')
    if (method !== 'GET' && method !== 'HEAD') return plain(405, 'method not allowed')
    if (path === '/metrics') return { status: 200, ...(await handlers.metrics()) }
    const reason = await (path === '/healthz' ? handlers.healthy() : handlers.ready())
    return reason === undefined ? plain(200, 'ok') : plain(503, reason)
  } catch {
    // What went wrong inside is nobody's business out here.
    return plain(500, 'internal error')
  }
}

function plain(status: number, text: string): Answer {
  return { status, contentType: 'text/plain; charset=utf-8', body: Buffer.from(`${text}\n`) }
}

async function readTls({ certPath, keyPath, clientCaPath }: HttpTls): Promise<ServerOptions> {
  const [cert, key, ca] = await Promise.all([
    readFile(certPath),
    readFile(keyPath),
    clientCaPath && readFile(clientCaPath),
  ])
  return { cert, key, minVersion: 'TLSv1.2', ...(ca && { ca, requestCert: true, rejectUnauthorized: true }) }
}

/** Connections that wait to be accepted: where they are full, a probe's beginning is lost and sent again after a second. */
const WAITING = 4_096

function started(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host, backlog: WAITING }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** Idle keep-alive connections are closed by node itself; those under way end with their answer. */
function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()))
}
