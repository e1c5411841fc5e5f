import http from 'node:http'
import https from 'node:https'
import type { Connection, Credential } from './connection.ts'

/** One request to the API server. */
export type Call = {
  method: 'GET' | 'POST' | 'PATCH'
  /** Beginning with a slash, without a query. */
  path: string
  query?: Readonly<Record<string, string>>
  body?: object
  /** Of the body; application/json when not given. */
  contentType?: string
  /** What the answer is to be; application/json when not given. */
  accept?: string
  /** Of the answer; an object's worth when not given. */
  mostBytes?: number
  /** For the whole call, or for the head of a watch's answer; 30 s when not given. */
  limitMs?: number
}

/** More than the connections that are kept. */
const MOST_STALE = 5

export type Exchange = {
  /** Sends the call as the one who holds `credential`; resolves with the answer's head. @throws the socket's own error */
  send(call: Call, credential: Credential, signal: AbortSignal): Promise<http.IncomingMessage>
  /** Closes all connections. */
  close(): void
}

/** HTTP/1.1 over connections that are kept open: each watch holds one of its own. */
export function createExchange(
  connection: Pick<Connection, 'server' | 'tlsServerName' | 'skipTLSVerify'>,
): Exchange {
  const secure = connection.server.startsWith('https:')
  const agentOptions = { keepAlive: true, maxFreeSockets: MOST_STALE - 1 }
  const agent = secure ? new https.Agent(agentOptions) : new http.Agent(agentOptions)
  const request = secure ? https.request : http.request
  const tls: https.RequestOptions = {
    rejectUnauthorized: !connection.skipTLSVerify,
    ...(connection.tlsServerName ? { servername: connection.tlsServerName } : {}),
  }

  const attempt = (call: Call, credential: Credential, signal: AbortSignal) =>
    new Promise<http.IncomingMessage>((resolve, reject) => {
      const body = call.body === undefined ? undefined : JSON.stringify(call.body)
      const sent = request(urlOf(connection.server, call), {
        agent,
        signal,
        method: call.method,
        headers: headersOf(call, credential, body),
        ...(secure ? { ...tls, ...identityOf(credential) } : {}),
      })
      sent.on('error', (error) => reject(sent.reusedSocket && isReset(error) ? new StaleConnection() : error))
      sent.on('response', resolve)
      sent.end(body)
    })

  return {
    async send(call, credential, signal) {
      // All idle connections went with the process at their other end: each is found out by itself.
      for (let tries = 0; tries < MOST_STALE; tries += 1) {
        try {
          return await attempt(call, credential, signal)
        } catch (error) {
          if (!(error instanceof StaleConnection)) throw error
        }
      }
      throw new Error('the connection was cut off')
    },
    close: () => agent.destroy(),
  }
}

/** The server closed an idle connection just when it was used again: nothing was answered. */
class StaleConnection extends Error {}

function isReset(error: Error): boolean {
  return 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE')
}

function urlOf(server: string, call: Call): string {
  const query = new URLSearchParams(call.query).toString()
  return `${server}${call.path}${query && `?${query}`}`
}

function headersOf(call: Call, credential: Credential, body: string | undefined): http.OutgoingHttpHeaders {
  return {
    Accept: call.accept ?? 'application/json',
    'User-Agent': 'vault-files-csi',
    ...(credential.token ? { Authorization: `Bearer ${credential.token.reveal()}` } : {}),
    ...(body === undefined
      ? {}
      : {
          'Content-Type': call.contentType ?? 'application/json',
          'Content-Length': Buffer.byteLength(body),
        }),
  }
}

/** Part of the agent's key for a connection: a rotated CA or certificate opens new ones. */
function identityOf({ ca, certificate }: Credential): https.RequestOptions {
  return {
    ...(ca ? { ca } : {}),
    ...(certificate ? { cert: certificate.certificate, key: certificate.key.reveal() } : {}),
  }
}
