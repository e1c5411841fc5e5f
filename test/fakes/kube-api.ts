import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../../src/core/ports/clock.ts'
import { SecretText } from '../../src/core/secret.ts'
import { createKubeClient, type KubeClient } from '../../src/kube/client.ts'
import type { Connection, Credentials } from '../../src/kube/connection.ts'
import { type ImportManifest, importManifest } from '../harness/cluster/manifests.ts'
import { FakeSecrets } from './fake-secrets.ts'

export type Seen = {
  method: string
  path: string
  query: URLSearchParams
  token: string
  contentType: string
  accept: string
  body: unknown
}
const NAMESPACE = 'my-namespace1'

type ImportEvent = { type: string; object: ImportManifest }
type Answer = { status: number; body?: unknown; headers?: Record<string, string> }

/** An API server for tests: lists and watches imports, all or by name, and does to its clients what a real one may do. */
export class FakeKubeApi {
  readonly seen: Seen[] = []
  /** Answers in place of the usual ones while it returns something. */
  instead: ((seen: Seen) => Answer | 'hang' | undefined) | undefined
  /** Tokens that are let in; any when undefined. */
  validToken: string | undefined
  /** Versions up to here are forgotten: a watch from them gets 410. */
  compactedAt = 0
  /** Secrets and pods. */
  readonly store = new FakeSecrets()
  /** By namespace and name. */
  readonly #objects = new Map<string, ImportManifest>()
  readonly #events: { version: number; line: ImportEvent }[] = []
  readonly #watches = new Map<ServerResponse, URL>()
  #version = 100
  #port = 0
  readonly #server = createServer((request, response) => this.#serve(request, response))

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, '127.0.0.1', resolve))
    this.#port = (this.#server.address() as AddressInfo).port
  }

  /** Goes without a word, as a killed process does; start() opens the same port again. */
  async stop(): Promise<void> {
    this.#watches.clear()
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  get openWatches(): number {
    return this.#watches.size
  }

  client(clock: Pick<Clock, 'after'>, credentials: Credentials = fixedCredentials('token')): KubeClient {
    const connection: Connection = {
      server: this.url,
      tlsServerName: undefined,
      skipTLSVerify: false,
      credentials,
    }
    return createKubeClient({ connection, clock })
  }

  put(name: string, change?: (spec: ImportManifest['spec']) => void, namespace = NAMESPACE): void {
    const manifest = importManifest(change)
    const key = `${namespace}/${name}`
    const before = this.#objects.get(key)
    // As the API server counts them.
    const isSame = before !== undefined && isDeepStrictEqual(before.spec, manifest.spec)
    const generation = (before?.metadata.generation ?? 0) + (isSame ? 0 : 1)
    const uid = before?.metadata.uid ?? `uid-${this.#version}`
    const resourceVersion = String(++this.#version)
    manifest.metadata = { name, namespace, uid, generation, resourceVersion }
    this.#objects.set(key, manifest)
    this.#emit({ type: before === undefined ? 'ADDED' : 'MODIFIED', object: manifest })
  }

  delete(name: string, namespace = NAMESPACE): void {
    const key = `${namespace}/${name}`
    const object = this.#objects.get(key)
    this.#objects.delete(key)
    if (object === undefined) return
    const metadata = { ...object.metadata, resourceVersion: String(++this.#version) }
    this.#emit({ type: 'DELETED', object: { ...object, metadata } })
  }

  bookmark(): void {
    this.#send({ type: 'BOOKMARK', object: { metadata: { resourceVersion: String(++this.#version) } } })
  }

  /** An ERROR event on every watch. */
  fail(code: number): void {
    this.#send({
      type: 'ERROR',
      object: { kind: 'Status', code, reason: 'Expired', message: 'too old resource version' },
    })
  }

  endWatches(): void {
    for (const response of this.#watches.keys()) response.end()
    this.#watches.clear()
  }

  requests(kind: 'list' | 'watch' | 'other'): Seen[] {
    return this.seen.filter(({ path, query }) => {
      const isImports = path.endsWith('/secretsstoreimports')
      if (!isImports) return kind === 'other'
      return kind === (query.has('watch') ? 'watch' : 'list')
    })
  }

  #emit(line: ImportEvent): void {
    this.#events.push({ version: this.#version, line })
    for (const [response, url] of this.#watches)
      if (isAskedFor(line.object, url)) response.write(`${JSON.stringify(line)}\n`)
  }

  #send(line: object): void {
    for (const response of this.#watches.keys()) response.write(`${JSON.stringify(line)}\n`)
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const text = Buffer.concat(chunks).toString()
    const url = new URL(request.url ?? '', this.url)
    const seen: Seen = {
      method: request.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      token: request.headers.authorization?.replace('Bearer ', '') ?? '',
      contentType: request.headers['content-type'] ?? '',
      accept: request.headers.accept ?? '',
      body: text ? JSON.parse(text) : undefined,
    }
    this.seen.push(seen)
    const answer = this.#refuse(seen) ?? this.instead?.(seen) ?? this.#usual(seen, url)
    if (answer === 'hang') return
    if (answer === 'watch') return this.#watch(url, response)
    response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers })
    response.end(answer.body === undefined ? '' : JSON.stringify(answer.body))
  }

  #refuse({ token }: Seen): Answer | undefined {
    return this.validToken === undefined || token === this.validToken
      ? undefined
      : status(401, 'Unauthorized')
  }

  #usual(seen: Seen, url: URL): Answer | 'watch' {
    const { path, query } = seen
    if (!path.endsWith('/secretsstoreimports')) return this.store.answer(seen) ?? status(404, 'NotFound')
    return query.has('watch') ? 'watch' : this.#list(seen, url)
  }

  #list({ query, accept }: Seen, url: URL): Answer {
    // Its memory has not come so far.
    if (Number(query.get('resourceVersion') ?? 0) > this.#version)
      return status(504, 'Timeout', 'Too large resource version')
    const from = Number(query.get('continue') ?? 0)
    const until = from + Number(query.get('limit') ?? 500)
    const all = [...this.#objects.values()].filter((manifest) => isAskedFor(manifest, url))
    const metadata = {
      resourceVersion: String(this.#version),
      ...(until < all.length ? { continue: String(until) } : {}),
    }
    if (accept.includes('as=Table')) {
      const rows = all.slice(from, until).map((manifest) => ({ cells: [manifest.metadata.name, 'role'] }))
      return { status: 200, body: { kind: 'Table', metadata, rows } }
    }
    return { status: 200, body: { kind: 'SecretsStoreImportList', metadata, items: all.slice(from, until) } }
  }

  #watch(url: URL, response: ServerResponse): void {
    const from = Number(url.searchParams.get('resourceVersion'))
    response.writeHead(200, { 'content-type': 'application/json' })
    response.flushHeaders()
    if (from < this.compactedAt) {
      response.end(
        `${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } })}\n`,
      )
      return
    }
    for (const { version, line } of this.#events)
      if (version > from && isAskedFor(line.object, url)) response.write(`${JSON.stringify(line)}\n`)
    this.#watches.set(response, url)
    response.on('close', () => this.#watches.delete(response))
  }
}

function isAskedFor({ metadata }: ImportManifest, { pathname, searchParams }: URL): boolean {
  const namespace = /\/namespaces\/([^/]+)\//.exec(pathname)?.[1]
  const name = /^metadata\.name=(.+)$/.exec(searchParams.get('fieldSelector') ?? '')?.[1]
  return (namespace ?? metadata.namespace) === metadata.namespace && (name ?? metadata.name) === metadata.name
}

/** An API server's own refusal. */
export function status(code: number, reason: string, message = reason): Answer {
  return { status: code, body: { kind: 'Status', status: 'Failure', code, reason, message } }
}

export function fixedCredentials(token: string): Credentials {
  return {
    current: async () => ({ token: new SecretText(token), ca: undefined, certificate: undefined }),
    expire: () => {},
  }
}
