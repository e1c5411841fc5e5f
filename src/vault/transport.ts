import http from 'node:http'
import https from 'node:https'
import { parseJson } from '../core/json/json.ts'
import type { Json } from '../core/json/types.ts'
import {
  type ParsedResponse,
  type ParseResponse,
  parseResponse,
  type ResponseData,
} from '../core/json/vault-response.ts'
import type { Clock } from '../core/ports/clock.ts'
import { createSockets, type SocketSettings } from './sockets.ts'

/** One answer of Vault, whatever its status. */
export type Answer = {
  status: number
  /** Parsed JSON with number literals kept; undefined when there was none. */
  body: Json | undefined
  /** The data of a large answer; its `body` is the rest. */
  held?: ResponseData | undefined
  /** As sent: seconds or an HTTP date. */
  retryAfter: string | undefined
  /** Where a redirect points; it is never followed, for the token would travel along. */
  location: string | undefined
}

/** Options as node-vault passes them on; the fields are ours except `uri`. */
export type TransportOptions = {
  uri: string
  method: string
  headers?: Record<string, string>
  /** The request's body. */
  json?: object
  /** Kubernetes namespace of the pod for which Vault is asked. */
  podNamespace?: string
  signal?: AbortSignal
}

/** How the endpoint is reached. */
export type TransportSettings = SocketSettings & {
  /** Milliseconds for the whole call: looking the name up, connecting, sending, receiving. */
  timeoutMs: number
  /** Bytes. */
  maxBodyBytes: number
  /** For large answers; default: on the spot. */
  parseAnswer?: ParseResponse
  clock: Pick<Clock, 'after' | 'monotonic'>
}

export type Transport = {
  /** @throws the socket's or TLS's own error, TransportError, or the signal's reason */
  send(options: TransportOptions): Promise<Answer>
  /** Closes all connections. */
  close(): void
}

export type TransportFailure = 'timeout' | 'too-large' | 'not-json' | 'cut-off' | 'https-expected'

/** Failures beyond the socket itself. Holds nothing of the response. */
export class TransportError extends Error {
  override readonly name = 'TransportError'
  readonly failure: TransportFailure

  constructor(failure: TransportFailure) {
    super(failure)
    this.failure = failure
  }
}

/** Headers of a response that are parsed; all together have 16 KiB at most. */
const MOST_HEADERS = 100
const MAX_HEADER_BYTES = 16 * 1024
/** Answers before the answer (`103 Early Hints`); Vault sends none. */
const MOST_HINTS = 10
/** The reply of Go's server, in plain text, to http on its https port. */
const HTTPS_EXPECTED = 'HTTP request to an HTTPS server'
/** Bytes of an answer that are parsed on the spot: some milliseconds. */
const LARGE = 128 * 1024
/** Bytes of an error's body that are parsed at most. */
const LARGEST_ERROR = 64 * 1024

type Received = { response: http.IncomingMessage; bytes: Buffer }

/** HTTP to one endpoint over connections that are kept open. */
export function createTransport(settings: TransportSettings): Transport {
  const secure = settings.address.startsWith('https:')
  const sockets = createSockets(settings)
  const request = secure ? https.request : http.request
  const server = hostOf(settings.address)

  const attempt = (options: TransportOptions, timeoutMs: number) =>
    new Promise<Received>((resolve, reject) => {
      const { signal } = options
      if (signal?.aborted) return reject(signal.reason)
      const body = options.json === undefined ? undefined : JSON.stringify(options.json)
      let isAnswered = false
      const sent = request({
        ...server,
        path: pathOf(options.uri),
        agent: sockets.agent(),
        maxHeaderSize: MAX_HEADER_BYTES,
        method: options.method,
        headers: headersOf(options, body),
      })
      const fail = (error: unknown) => {
        finish()
        reject(!isAnswered && sent.reusedSocket && isReset(error) ? new StaleConnection() : error)
        sent.destroy()
      }
      const onAbort = () => fail(signal?.reason)
      const cancelTimer = settings.clock.after(timeoutMs, () => fail(new TransportError('timeout')))
      const finish = () => {
        cancelTimer()
        signal?.removeEventListener('abort', onAbort)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      let hints = 0
      sent.maxHeadersCount = MOST_HEADERS
      sent.on('error', fail)
      sent.on('information', () => {
        hints += 1
        if (hints > MOST_HINTS) fail(new TransportError('not-json'))
      })
      sent.on('response', (response) => {
        isAnswered = true
        receive(response, settings.maxBodyBytes).then((answer) => {
          finish()
          resolve(answer)
        }, fail)
      })
      sent.end(body)
    })

  /** Twice at most, within the time of one call. */
  const receivedFrom = async (options: TransportOptions): Promise<Received> => {
    const startedAt = settings.clock.monotonic()
    try {
      return await attempt(options, settings.timeoutMs)
    } catch (error) {
      if (!(error instanceof StaleConnection)) throw error
      return await attempt(options, settings.timeoutMs - (settings.clock.monotonic() - startedAt))
    }
  }

  return {
    send: async (options) => {
      const received = await receivedFrom(options)
      const answer = await toAnswer(received, options, settings.parseAnswer ?? parseOnTheSpot)
      if (isElsewhere(answer)) sockets.renew()
      return answer
    },
    close: sockets.close,
  }
}

/** Sealed, a standby, or moved: by the next call a name or a load balancer may lead to the server that serves. */
function isElsewhere({ status }: Answer): boolean {
  return status === 503 || status === 472 || status === 473 || (status >= 300 && status < 400)
}

/** The server had closed an idle connection just when we used it again: nothing was received, so try once more. */
class StaleConnection extends Error {}

function isReset(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code
  return code === 'ECONNRESET' || code === 'EPIPE'
}

function hostOf(address: string): { host: string; port: string } {
  const { hostname, port } = new URL(address)
  return { host: hostname.replace(/^\[|\]$/g, ''), port }
}

/** The path goes out as it stands: URL would resolve `..` and so ask for another path than the policy names. */
function pathOf(uri: string): string {
  return uri.slice(uri.indexOf('/', uri.indexOf('://') + 3))
}

function headersOf(options: TransportOptions, body: string | undefined): http.OutgoingHttpHeaders {
  return {
    ...options.headers,
    // Vault's and OpenBao's agents refuse requests without it: a browser cannot be tricked into sending it.
    'X-Vault-Request': 'true',
    'User-Agent': 'vault-files-csi',
    Accept: 'application/json',
    ...(body === undefined
      ? {}
      : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }),
  }
}

function receive(response: http.IncomingMessage, maxBytes: number): Promise<Received> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    response.on('data', (chunk: Buffer) => {
      size += chunk.byteLength
      if (size > maxBytes) reject(new TransportError('too-large'))
      else chunks.push(chunk)
    })
    response.on('error', () => reject(new TransportError('cut-off')))
    response.on('end', () => resolve({ response, bytes: Buffer.concat(chunks) }))
  })
}

async function toAnswer(
  { response, bytes }: Received,
  { podNamespace = '', signal }: TransportOptions,
  parseAnswer: ParseResponse,
): Promise<Answer> {
  const status = response.statusCode ?? 0
  const common = {
    status,
    retryAfter: response.headers['retry-after'],
    location: response.headers.location,
  }
  if (status >= 300 || bytes.byteLength <= LARGE) return { ...common, body: parseBody(status, bytes) }
  const parsed = await parseAnswer(bytes, podNamespace, signal)
  if (parsed === undefined) throw new TransportError('not-json')
  // Nothing that we know has much beside its data.
  if (parsed.rest.length > LARGE) throw new TransportError('too-large')
  return { ...common, body: parseJson(parsed.rest), held: parsed.data }
}

function parseBody(status: number, bytes: Buffer): Json | undefined {
  if (status >= 300 && bytes.byteLength > LARGEST_ERROR) return undefined
  const text = bytes.toString('utf8')
  if (text.trim() === '') return undefined
  try {
    return parseJson(text)
  } catch {
    // The SyntaxError quotes the text, which may be a secret: it goes no further.
    if (status === 400 && text.includes(HTTPS_EXPECTED)) throw new TransportError('https-expected')
    if (status < 300) throw new TransportError('not-json')
    return undefined
  }
}

async function parseOnTheSpot(bytes: Buffer): Promise<ParsedResponse | undefined> {
  return parseResponse(bytes.toString('utf8'))
}
