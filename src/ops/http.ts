import { readFile } from 'node:fs/promises'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer, type ServerOptions } from 'node:https'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { limitConnections } from './connection-limit.ts'

/** Why the check fails, in words for the cluster admin; undefined: it passes. */
export type Check = () => string | undefined | Promise<string | undefined>

export type HttpHandlers = {
  metrics: () => Promise<{ contentType: string; body: string }>
  healthy: Check
  ready: Check
}

/** Paths of PEM files. With a client CA only clients with a certificate of it are served. */
export type HttpTls = { certPath: string; keyPath: string; clientCaPath: string | undefined }

export type HttpServer = {
  /** The port it listens on, chosen by the system when 0 was asked for. */
  port: number
  /** Reads the TLS files again; open connections stay. On failure the old ones stay in use. @throws Error of the file system or TLS */
  reload(): Promise<void>
  /** Finishes open requests and accepts no new ones. */
  close(): Promise<void>
}

type Reply = { status: number; contentType: string; body: Buffer }

/**
 * Serves /metrics, /healthz and /readyz to GET and HEAD; everything else gets 404 or 405.
 * Any client may hold connections, and kubelet's probe is still answered: see limitConnections.
 * @throws Error of the system when it cannot listen on the address or read a TLS file
 */
export async function startHttp(options: {
  addr: { host: string; port: number }
  tls?: HttpTls | undefined
  handlers: HttpHandlers
}): Promise<HttpServer> {
  const { addr, tls, handlers } = options
  const listener = listen({ ...handlers, metrics: throttled(handlers.metrics) })
  const secure = tls && createTlsServer({ ...limits, ...(await readTls(tls)) }, listener)
  const server: Server = secure ?? createServer(limits, listener)
  limitConnections(server)
  await started(server, addr)
  return {
    port: (server.address() as AddressInfo).port,
    async reload() {
      if (tls) secure?.setSecureContext(await readTls(tls))
    },
    close: () => closed(server),
  }
}

/** Closes connections of clients that send nothing, and idle ones early. */
const limits = {
  headersTimeout: 3_000,
  requestTimeout: 5_000,
  connectionsCheckingInterval: 500,
  keepAliveTimeout: 2_000,
  handshakeTimeout: 2_000,
  // Enough for a scraper's bearer token.
  maxHeaderSize: 8_192,
}

/** Rendering takes milliseconds: scrapes that come within METRICS_PAUSE_MS of the last one wait and share the next page. */
function throttled(render: HttpHandlers['metrics']): () => Promise<Omit<Reply, 'status'>> {
  let madeAt = Number.NEGATIVE_INFINITY
  let next: Promise<Omit<Reply, 'status'>> | undefined
  const make = async () => {
    await sleep(Math.max(madeAt + METRICS_PAUSE_MS - performance.now(), 0))
    // A scrape that comes from here on gets the next page: this one may miss recent values.
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

type Handlers = Omit<HttpHandlers, 'metrics'> & { metrics: () => Promise<Omit<Reply, 'status'>> }

function listen(handlers: Handlers): RequestListener {
  return (request, response) => {
    // The parser still hands out pipelined requests of a connection that limitConnections has closed.
    if (request.socket.destroyed) return
    void reply(request.method, request.url, handlers).then(({ status, contentType, body }) => {
      // limitConnections has closed it meanwhile.
      if (request.socket.destroyed) return
      // No request needs a body: none is read.
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

async function reply(method: string | undefined, url = '', handlers: Handlers): Promise<Reply> {
  const [path] = url.split('?')
  try {
    if (path !== '/metrics' && path !== '/healthz' && path !== '/readyz') return plain(404, 'not found')
    if (method !== 'GET' && method !== 'HEAD') return plain(405, 'method not allowed')
    if (path === '/metrics') return { status: 200, ...(await handlers.metrics()) }
    const reason = await (path === '/healthz' ? handlers.healthy() : handlers.ready())
    return reason === undefined ? plain(200, 'ok') : plain(503, reason)
  } catch {
    // Details of internal errors are not for clients.
    return plain(500, 'internal error')
  }
}

function plain(status: number, text: string): Reply {
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

/** Connections waiting to be accepted. When full, a probe's SYN is dropped and sent again only after a second. */
const BACKLOG = 4_096

function started(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host, backlog: BACKLOG }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** Node closes idle keep-alive connections; busy ones end with their response. */
function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()))
}
