import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { nowMs } from './now.ts'

/** What a server of the attacker's own does where a Vault is asked; the path is without /v1/. */
export type Behaviour = (path: string, response: ServerResponse, request: IncomingMessage) => void

/** A server that the attacker's imports name as their address. */
export type HostileVault = {
  address: string
  /** Times of the requests whose path holds `part`, by nowMs(). */
  asked(part: string): number[]
  sockets(): number
  close(): Promise<void>
}

export async function startHostileVault(behave: Behaviour): Promise<HostileVault> {
  const requests: { path: string; at: number }[] = []
  let sockets = 0
  const server = createServer((request, response) => {
    const path = (request.url ?? '').replace(/^\/v1\//, '')
    requests.push({ path, at: nowMs() })
    request.resume()
    response.on('error', () => response.destroy())
    request.on('end', () => behave(path, response, request))
  })
  server.keepAliveTimeout = 600_000
  server.on('connection', (socket) => {
    sockets += 1
    socket.on('close', () => {
      sockets -= 1
    })
    socket.on('error', () => socket.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: (part) => requests.filter(({ path }) => path.includes(part)).map(({ at }) => at),
    sockets: () => sockets,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

export function answer(response: ServerResponse, status: number, body: object | string, headers = {}): void {
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers })
  response.end(typeof body === 'string' ? body : JSON.stringify(body))
}

/** A login as Vault answers it. */
export function login(more: object = {}): object {
  return {
    auth: {
      client_token: 'hvs.CAESIJ0notarealtokenbutlongenough0123456789',
      accessor: 'accessor',
      policies: ['default'],
      lease_duration: 600,
      renewable: true,
      ...more,
    },
  }
}

export const isLogin = (path: string) => path.endsWith('/login')
