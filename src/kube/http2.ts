import { createHash } from 'node:crypto'
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2'
import { isIP } from 'node:net'
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls'
import { waitFor } from '../core/collapse.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Connection, Credential } from './connection.ts'
import { NoHttp2, type Reply, type Request, StaleConnection, type Transport } from './http.ts'

/** Streams of one connection; the API server allows a hundred, and refuses more. */
const MOST_STREAMS = 90
/** For the connection and its TLS. */
const CONNECT_MS = 10_000
/** Between pings, so that a dead connection is detected earlier than by the kernel. */
const PING_MS = 30_000
const PONG_MS = 15_000

type Session = {
  http2: ClientHttp2Session
  /** Open streams. */
  streams: number
  isUsed: boolean
}

/** HTTP/2: calls and watches share a connection, and another one when it is full. */
export function createHttp2(
  connection: Pick<Connection, 'server' | 'tlsServerName' | 'skipTLSVerify'>,
  clock: Pick<Clock, 'after'>,
): Transport {
  const { server } = connection
  /** Open sessions, by CA and client certificate. */
  const sessions = new Map<string, Set<Session>>()
  const opening = new Map<string, Promise<Session>>()
  let isClosed = false

  async function sessionFor(credential: Credential): Promise<Session> {
    const key = keyOf(credential)
    for (;;) {
      for (const session of sessions.get(key) ?? []) if (hasRoom(session)) return session
      await (opening.get(key) ?? open(key, credential))
      // All waiting calls share it, unless they are more than it has streams.
    }
  }

  function open(key: string, credential: Credential): Promise<Session> {
    const opened = secure(connection, credential, clock)
      .then((socket) => begin(key, socket))
      .finally(() => opening.delete(key))
    opening.set(key, opened)
    return opened
  }

  function begin(key: string, socket: TLSSocket): Session {
    const http2 = connect(server, { createConnection: () => socket })
    const session: Session = { http2, streams: 0, isUsed: false }
    const own = sessions.get(key) ?? new Set()
    sessions.set(key, own.add(session))
    const forget = () => {
      own.delete(session)
      if (own.size === 0 && sessions.get(key) === own) sessions.delete(key)
    }
    // Open streams may end normally; no new ones begin.
    http2.on('goaway', forget)
    http2.on('close', forget)
    // Each stream has its own error.
    http2.on('error', forget)
    // After a rotation of the certificate or CA, idle sessions of the old one are closed.
    for (const [other, old] of sessions)
      if (other !== key) for (const { http2: idle, streams } of old) if (streams === 0) idle.close()
    if (isClosed) http2.destroy()
    keepAlive(http2, clock)
    return session
  }

  async function send(request: Request, credential: Credential, signal: AbortSignal): Promise<Reply> {
    const session = await waitFor(sessionFor(credential), signal)
    const { method, path, headers, body } = request
    const isReused = session.isUsed
    session.isUsed = true
    session.streams += 1
    let stream: ClientHttp2Stream
    try {
      stream = session.http2.request(
        { ...headers, ':method': method, ':path': path },
        { endStream: body === undefined, signal },
      )
    } catch (error) {
      session.streams -= 1
      // It was closed since it was selected.
      throw session.http2.closed || session.http2.destroyed ? new StaleConnection() : error
    }
    stream.once('close', () => {
      session.streams -= 1
    })
    if (body !== undefined) stream.end(body)
    return replyOf(stream, isReused)
  }

  return {
    send,
    close() {
      isClosed = true
      for (const all of sessions.values()) for (const { http2 } of all) http2.destroy()
    },
  }
}

function hasRoom({ http2, streams }: Session): boolean {
  return streams < MOST_STREAMS && !http2.closed && !http2.destroyed
}

function replyOf(stream: ClientHttp2Stream, isReused: boolean): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const lost = (error?: Error) => {
      if (error?.name === 'AbortError') reject(error)
      else reject(isReused ? new StaleConnection() : (error ?? new Error('the connection was cut off')))
    }
    stream.once('response', (headers) => {
      const retryAfter = headers['retry-after']
      resolve({
        status: headers[':status'] ?? 0,
        retryAfter: typeof retryAfter === 'string' ? retryAfter : undefined,
        body: stream,
        // A lost connection cancels its streams, which then end like others.
        isWhole: () => stream.rstCode === constants.NGHTTP2_NO_ERROR,
      })
    })
    // Stays for the stream's life: the body's reader sees the error too.
    stream.on('error', lost)
    stream.once('close', () => lost())
  })
}

/** @throws NoHttp2 when the server chose another protocol; the socket's own error */
function secure(
  { server, tlsServerName, skipTLSVerify }: Pick<Connection, 'server' | 'tlsServerName' | 'skipTLSVerify'>,
  { ca, certificate }: Credential,
  clock: Pick<Clock, 'after'>,
): Promise<TLSSocket> {
  const { hostname, port } = new URL(server)
  const host = hostname.replace(/^\[|\]$/g, '')
  const servername = tlsServerName ?? (isIP(host) ? undefined : host)
  const options: ConnectionOptions = {
    host,
    port: Number(port || 443),
    ALPNProtocols: ['h2', 'http/1.1'],
    rejectUnauthorized: !skipTLSVerify,
    ...(servername ? { servername } : {}),
    ...(ca ? { ca } : {}),
    ...(certificate ? { cert: certificate.certificate, key: certificate.key.reveal() } : {}),
  }
  return new Promise((resolve, reject) => {
    const socket = connectTls(options)
    const cancel = clock.after(CONNECT_MS, () =>
      socket.destroy(new Error(`no connection within ${CONNECT_MS / 1000} s`)),
    )
    socket.once('error', reject)
    socket.once('close', () => {
      cancel()
      reject(new Error('the connection was cut off'))
    })
    socket.once('secureConnect', () => {
      cancel()
      if (socket.alpnProtocol === 'h2') return resolve(socket)
      socket.destroy()
      reject(new NoHttp2('the server speaks HTTP/1.1 alone'))
    })
  })
}

/** Closes a connection that answers no ping. */
function keepAlive(http2: ClientHttp2Session, clock: Pick<Clock, 'after'>): void {
  let cancel = clock.after(PING_MS, ping)
  http2.once('close', () => cancel())

  function ping(): void {
    if (http2.closed || http2.destroyed) return
    cancel = clock.after(PONG_MS, () => http2.destroy(new Error('the connection gives no sign of life')))
    http2.ping((error) => {
      if (error !== null) return
      cancel()
      if (!http2.closed && !http2.destroyed) cancel = clock.after(PING_MS, ping)
    })
  }
}

/** Without the token, which goes with each call. The key is digested with the rest: it is a secret. */
function keyOf({ ca, certificate }: Credential): string {
  const parts = [ca, certificate?.certificate, certificate?.key.reveal()]
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}
