import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export type FrontRequest = {
  method: string
  path: string
  token: string | undefined
  status: number
  at: number
}
export type FrontAnswer = { status: number; headers?: Record<string, string>; body?: string }

/** Stands between the plugin and Vault: sees every request, may hold or answer it. */
export type VaultFront = {
  address: string
  /** All that were answered, oldest first. */
  requests: FrontRequest[]
  /** Every Vault token that travelled either way. */
  tokens: ReadonlySet<string>
  /** Answers in Vault's place; undefined passes the request on. */
  answer: (path: string) => FrontAnswer | undefined
  /** Milliseconds that every answer is held back. */
  holdMs: number
  /** Paths that hang, as those of an engine whose database is dead: Vault is not asked, and nothing answered. */
  hangs: (path: string) => boolean
  close(): Promise<void>
}

/** @param target address of the real Vault */
export async function startVaultFront(target: string): Promise<VaultFront> {
  const tokens = new Set<string>()
  const server = createServer((incoming, outgoing) => void pass(incoming, outgoing))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const front: VaultFront = {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: [],
    tokens,
    answer: () => undefined,
    holdMs: 0,
    hangs: () => false,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }

  async function pass(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const path = (incoming.url ?? '').replace(/^\/v1\//, '')
    const { method = '' } = incoming
    const token = incoming.headers['x-vault-token']?.toString()
    if (token !== undefined) tokens.add(token)
    const body = await readAll(incoming)
    if (front.hangs(path)) return
    const { status, headers = {}, body: text = '' } = front.answer(path) ?? (await ask(incoming, body))
    for (const [, found = ''] of text.matchAll(/"client_token":"([^"]+)"/g)) tokens.add(found)
    if (front.holdMs > 0) await sleep(front.holdMs)
    front.requests.push({ method, path, token, status, at: Date.now() })
    outgoing.writeHead(status, headers)
    outgoing.end(text)
  }

  function ask({ method, url, headers }: IncomingMessage, body: Buffer): Promise<FrontAnswer> {
    const { promise, resolve } = Promise.withResolvers<FrontAnswer>()
    const sent = request(`${target}${url}`, { method, headers: { ...headers, host: new URL(target).host } })
    sent.on('error', () => resolve({ status: 502 }))
    sent.on('response', async (response) => {
      const { 'content-type': contentType = 'application/json', 'retry-after': retryAfter } = response.headers
      const text = (await readAll(response)).toString('utf8')
      const passed = { 'content-type': contentType, ...(retryAfter && { 'retry-after': retryAfter }) }
      resolve({ status: response.statusCode ?? 502, headers: passed, body: text })
    })
    sent.end(body)
    return promise
  }

  return front
}

async function readAll(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}
