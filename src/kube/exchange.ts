import type { Clock } from '../core/ports/clock.ts'
import type { Connection, Credential } from './connection.ts'
import { createHttp1 } from './http1.ts'
import { createHttp2 } from './http2.ts'
import { type Call, NoHttp2, type Reply, type Request, StaleConnection, type Transport } from './wire.ts'

export type { Call, Reply } from './wire.ts'

export type Exchange = {
  /** Sends the call as the one who holds `credential`; resolves with the answer's head. @throws the socket's own error */
  send(call: Call, credential: Credential, signal: AbortSignal): Promise<Reply>
  /** Closes all connections. */
  close(): void
}

/** Idle connections that may all have gone with the process at their other end: each is found out by itself. */
const MOST_STALE = 5

/**
 * HTTP/2 where the server speaks it: watches, of which there may be a hundred, share a connection. Else HTTP/1.1.
 */
export function createExchange(
  connection: Pick<Connection, 'server' | 'tlsServerName' | 'skipTLSVerify'>,
  clock: Pick<Clock, 'after'>,
): Exchange {
  const http1 = createHttp1(connection)
  const http2 = createHttp2(connection, clock)
  let transport: Transport = connection.server.startsWith('https:') ? http2 : http1

  async function attempt(request: Request, credential: Credential, signal: AbortSignal): Promise<Reply> {
    try {
      return await transport.send(request, credential, signal)
    } catch (error) {
      if (!(error instanceof NoHttp2)) throw error
      transport = http1
      return http1.send(request, credential, signal)
    }
  }

  return {
    async send(call, credential, signal) {
      const request = toRequest(call, credential)
      for (let tries = 0; tries < MOST_STALE; tries += 1) {
        try {
          return await attempt(request, credential, signal)
        } catch (error) {
          if (!(error instanceof StaleConnection)) throw error
        }
      }
      throw new Error('the connection was cut off')
    },
    close() {
      http1.close()
      http2.close()
    },
  }
}

function toRequest(call: Call, credential: Credential): Request {
  const query = new URLSearchParams(call.query).toString()
  const body = call.body === undefined ? undefined : JSON.stringify(call.body)
  const headers = {
    accept: call.accept ?? 'application/json',
    'user-agent': 'vault-files-csi',
    ...(credential.token ? { authorization: `Bearer ${credential.token.reveal()}` } : {}),
    ...(body === undefined
      ? {}
      : {
          'content-type': call.contentType ?? 'application/json',
          'content-length': Buffer.byteLength(body),
        }),
  }
  return { method: call.method, path: `${call.path}${query && `?${query}`}`, headers, body }
}
