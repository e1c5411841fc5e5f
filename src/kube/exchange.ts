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
}

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
  const agent = secure ? new https.Agent({ keepAlive: true }) : new http.Agent({ keepAlive: true })
  const request = secure ? https.request : http.request
  const tls: https.RequestOptions = {
    rejectUnauthorized: !connection.skipTLSVerify,
    ...(connection.tlsServerName ? { servername: connection.tlsServerName } : {}),
  }

  return {
    send: (call, credential, signal) =>
      new Promise((resolve, reject) => {
        const body = call.body === undefined ? undefined : JSON.stringify(call.body)
        const sent = request(urlOf(connection.server, call), {
          agent,
          signal,
          method: call.method,
          headers: headersOf(call, credential, body),
          ...(secure ? { ...tls, ...identityOf(credential) } : {}),
        })
        sent.on('error', reject)
        sent.on('response', resolve)
        sent.end(body)
      }),
    close: () => agent.destroy(),
  }
}

function urlOf(server: string, call: Call): string {
  const query = new URLSearchParams(call.query).toString()
  return `${server}${call.path}${query && `?${query}`}`
}

function headersOf(call: Call, credential: Credential, body: string | undefined): http.OutgoingHttpHeaders {
  return {
    Accept: 'application/json',
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
