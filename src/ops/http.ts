import { readFile } from 'node:fs/promises'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer, type ServerOptions } from 'node:https'
import type { AddressInfo } from 'node:net'

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

type Answer = { status: number; contentType: string; body: string }

/** A scraper that says nothing is not waited for. */
const REQUEST_TIMEOUT_MS = 10_000

/**
 * Serves /metrics, /healthz and /readyz to GET and HEAD. Nothing else is answered but 404 and 405.
 * @throws Error of the system when the address cannot be listened on or a TLS file not be read
 */
export async function startHttp(options: {
  addr: { host: string; port: number }
  tls?: HttpTls | undefined
  handlers: HttpHandlers
}): Promise<HttpServer> {
  const { addr, tls, handlers } = options
  const listener = listen(handlers)
  const secure = tls && createTlsServer(await readTls(tls), listener)
  const server: Server = secure ?? createServer(listener)
  server.requestTimeout = REQUEST_TIMEOUT_MS
  server.headersTimeout = REQUEST_TIMEOUT_MS
  await started(server, addr)
  return {
    port: (server.address() as AddressInfo).port,
    async reload() {
      if (tls) secure?.setSecureContext(await readTls(tls))
    },
    close: () => closed(server),
  }
}

function listen(handlers: HttpHandlers): RequestListener {
  return (request, response) => {
    void answer(request.method, request.url, handlers).then(({ status, contentType, body }) => {
      response.writeHead(status, {
        'content-type': contentType,
        'content-length': Buffer.byteLength(body),
        'cache-control': 'no-store',
        ...(status === 405 && { allow: 'GET, HEAD' }),
      })
      response.end(request.method === 'HEAD' ? undefined : body)
    })
  }
}

async function answer(method: string | undefined, url = '', handlers: HttpHandlers): Promise<Answer> {
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
  return { status, contentType: 'text/plain; charset=utf-8', body: `${text}\n` }
}

async function readTls({ certPath, keyPath, clientCaPath }: HttpTls): Promise<ServerOptions> {
  const [cert, key, ca] = await Promise.all([
    readFile(certPath),
    readFile(keyPath),
    clientCaPath && readFile(clientCaPath),
  ])
  return { cert, key, minVersion: 'TLSv1.2', ...(ca && { ca, requestCert: true, rejectUnauthorized: true }) }
}

function started(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** Idle keep-alive connections are closed by node itself; those under way end with their answer. */
function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()))
}
