import https from 'node:https'
import { loadConnection } from '../../../src/kube/load.ts'
import { realClock } from '../real-clock.ts'

/** An object of the API; tests know which fields they look at. */
// biome-ignore lint/suspicious/noExplicitAny: whatever the API server answers
export type ApiObject = any

/** The API server as the cluster's admin: cheaper than a kubectl for each look. */
export type ClusterApi = {
  server: string
  /** PEM. */
  ca: string
  /** undefined for 404. @throws Error with the API server's words */
  get(path: string): Promise<ApiObject>
  create(path: string, body: object): Promise<ApiObject>
  put(path: string, body: object): Promise<ApiObject>
  /** A merge patch. */
  patch(path: string, body: object): Promise<ApiObject>
  /** Content, nothing when it is gone already. */
  remove(path: string, options?: object): Promise<void>
  close(): void
}

export async function connectClusterApi(): Promise<ClusterApi> {
  const { server, credentials } = loadConnection({ clock: realClock, env: process.env })
  const { ca = '', certificate, token } = await credentials.current()
  const agent = new https.Agent({
    keepAlive: true,
    ca,
    ...(certificate ? { cert: certificate.certificate, key: certificate.key.reveal() } : {}),
  })

  async function call(method: string, path: string, body?: object, type = 'application/json') {
    const { status, text } = await send(`${server}${path}`, body && JSON.stringify(body), {
      agent,
      method,
      headers: {
        'User-Agent': 'e2e-test',
        ...(body ? { 'Content-Type': type } : {}),
        ...(token ? { Authorization: `Bearer ${token.reveal()}` } : {}),
      },
    })
    if (status === 404) return undefined
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${text.slice(0, 500)}`)
    return JSON.parse(text) as ApiObject
  }

  return {
    server,
    ca,
    get: (path) => call('GET', path),
    create: async (path, body) => (await call('POST', path, body)) ?? fail(path),
    put: async (path, body) => (await call('PUT', path, body)) ?? fail(path),
    patch: async (path, body) =>
      (await call('PATCH', path, body, 'application/merge-patch+json')) ?? fail(path),
    remove: async (path, options) => {
      await call('DELETE', path, options)
    },
    close: () => agent.destroy(),
  }
}

function fail(path: string): never {
  throw new Error(`${path}: not there`)
}

function send(
  url: string,
  body: string | undefined,
  options: https.RequestOptions,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const request = https.request(url, { ...options, timeout: 30_000 }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
      )
    })
    request.on('error', reject)
    request.on('timeout', () => request.destroy(new Error('no answer within 30 s')))
    request.end(body)
  })
}
