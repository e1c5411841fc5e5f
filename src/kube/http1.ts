import http from 'node:http'
import https from 'node:https'
import { hasCode } from '../core/errno.ts'
import type { Connection, Credential } from './connection.ts'
import { type Reply, type Request, StaleConnection, type Transport } from './http.ts'

const MOST_IDLE = 4

/** HTTP/1.1 over keep-alive connections: each watch holds one. */
export function createHttp1(
  connection: Pick<Connection, 'server' | 'tlsServerName' | 'skipTLSVerify'>,
): Transport {
  const secure = connection.server.startsWith('https:')
  const agentOptions = { keepAlive: true, maxFreeSockets: MOST_IDLE }
  const agent = secure ? new https.Agent(agentOptions) : new http.Agent(agentOptions)
  const request = secure ? https.request : http.request
  const tls: https.RequestOptions = {
    rejectUnauthorized: !connection.skipTLSVerify,
    ...(connection.tlsServerName ? { servername: connection.tlsServerName } : {}),
  }

  return {
    send: ({ method, path, headers, body }: Request, credential: Credential, signal: AbortSignal) =>
      new Promise<Reply>((resolve, reject) => {
        const sent = request(`${connection.server}${path}`, {
          agent,
          signal,
          method,
          headers,
          ...(secure ? { ...tls, ...identityOf(credential) } : {}),
        })
        sent.on('error', (error) =>
          reject(sent.reusedSocket && hasCode(error, 'ECONNRESET', 'EPIPE') ? new StaleConnection() : error),
        )
        sent.on('response', (message) =>
          resolve({
            status: message.statusCode ?? 0,
            retryAfter: message.headers['retry-after'],
            body: message,
            isWhole: () => message.complete,
          }),
        )
        sent.end(body)
      }),
    close: () => agent.destroy(),
  }
}

/** Part of the agent's key for a connection: a rotated CA or certificate opens new ones. */
function identityOf({ ca, certificate }: Credential): https.RequestOptions {
  return {
    ...(ca ? { ca } : {}),
    ...(certificate ? { cert: certificate.certificate, key: certificate.key.reveal() } : {}),
  }
}
