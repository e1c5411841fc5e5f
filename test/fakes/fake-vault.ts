import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export type SeenRequest = {
  method: string
  /** Without /v1/. */
  path: string
  headers: IncomingHttpHeaders
  body: Record<string, unknown>
  /** Tells connections apart. */
  port: number | undefined
}

/** The status that breaks the connection instead of answering. */
export const RESET = -1

/** Answers a request, or leaves it hanging by returning undefined. */
export type Handler = (request: SeenRequest) => FakeAnswer | Promise<FakeAnswer> | undefined
export type FakeAnswer = { status?: number; headers?: Record<string, string>; body?: string | object }

/** An HTTP server on loopback that speaks as much of Vault as a test needs. */
export type FakeVault = {
  address: string
  requests: SeenRequest[]
  /** How many requests went to `path`. */
  count(path: string): number
  /** Replaces the answer. */
  answer(handler: Handler): void
  close(): Promise<void>
}

export async function startFakeVault(
  handler: Handler = () => ({ status: 404, body: { errors: [] } }),
): Promise<FakeVault> {
  let current = handler
  const requests: SeenRequest[] = []
  const server = createServer(async (request, response) => {
    const seen = await read(request)
    requests.push(seen)
    const answer = await current(seen)
    if (answer) write(response, answer)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    count: (path) => requests.filter((request) => request.path === path).length,
    answer: (next) => {
      current = next
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** The answer to a login or a renewal. */
export function authAnswer(token: string, lease: { seconds?: number; renewable?: boolean } = {}): FakeAnswer {
  const { seconds = 60, renewable = true } = lease
  return {
    body: {
      auth: { client_token: token, accessor: `accessor-of-${token}`, lease_duration: seconds, renewable },
    },
  }
}

async function read(request: IncomingMessage): Promise<SeenRequest> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  const text = Buffer.concat(chunks).toString('utf8')
  return {
    method: request.method ?? '',
    path: (request.url ?? '').replace(/^\/v1\//, ''),
    headers: request.headers,
    body: text === '' ? {} : JSON.parse(text),
    port: request.socket.remotePort,
  }
}

function write(response: ServerResponse, { status = 200, headers = {}, body }: FakeAnswer): void {
  if (status === RESET) {
    response.socket?.resetAndDestroy()
    return
  }
  response.writeHead(status, headers)
  response.end(typeof body === 'object' ? JSON.stringify(body) : body)
}
