import type { Clock } from '../core/ports/clock.ts'
import type { Connection, Credential } from './connection.ts'
import {
  type Call,
  NoHttp2,
  type Reply,
  type Request,
  readJson,
  readLines,
  StaleConnection,
  type Transport,
} from './http.ts'
import { createHttp1 } from './http1.ts'
import { createHttp2 } from './http2.ts'

/** For a whole call, or for the head of a watch's answer. */
const CALL_MS = 30_000
/** Of one answer, or one line of a watch: etcd keeps objects below 1.5 MiB. */
const MOST_BYTES = 4 * 1024 * 1024

export type Answer = {
  status: number
  /** Parsed JSON; undefined when there was none. */
  body: unknown
  retryAfterMs: number | undefined
}

/** The API server. */
export type KubeClient = {
  /** Its address, for messages. */
  server: string
  /**
   * One call. After a 401 credentials are read again and the call is retried once.
   * @returns the answer, whatever its status
   * @throws Error of the socket or TLS, or of the time limit; the signal's reason
   */
  call(call: Call, signal: AbortSignal): Promise<Answer>
  /**
   * Opens a stream of lines, which ends when the server ends it.
   * @param silenceMs the stream fails after so long without a byte
   * @returns the stream, or the answer when there is none
   */
  stream(
    call: Call,
    silenceMs: number,
    signal: AbortSignal,
  ): Promise<Answer | { status: 200; lines: AsyncIterable<string> }>
  close(): void
}

/** A client of the few calls that the plugin makes; docs/decisions/0001-no-kubernetes-client.md says why. */
export function createKubeClient(deps: { connection: Connection; clock: Pick<Clock, 'after'> }): KubeClient {
  const { connection, clock } = deps
  const exchange = createExchange(connection, clock)

  async function open(call: Call, signal: AbortSignal): Promise<Reply> {
    const first = await exchange.send(call, await connection.credentials.current(), signal)
    if (first.status !== 401) return first
    first.body.resume()
    connection.credentials.expire()
    return exchange.send(call, await connection.credentials.current(), signal)
  }

  return {
    server: connection.server,
    call: (call, signal) =>
      within(call.limitMs ?? CALL_MS, clock, signal, async (limited) =>
        answerOf(await open(call, limited), call),
      ),
    stream: async (call, silenceMs, signal) => {
      // The limit is for the head only, but the request keeps its signal, which must follow the caller's for good.
      const stop = new AbortController()
      const onAbort = () => stop.abort(signal.reason)
      signal.throwIfAborted()
      signal.addEventListener('abort', onAbort, { once: true })
      const done = () => signal.removeEventListener('abort', onAbort)
      const limitMs = call.limitMs ?? CALL_MS
      const cancel = clock.after(limitMs, () => stop.abort(tooSlow(limitMs)))
      try {
        const reply = await open(call, stop.signal).finally(cancel)
        if (reply.status !== 200) return await answerOf(reply, call).finally(done)
        return {
          status: 200,
          lines: readLines(reply, { mostBytes: call.mostBytes ?? MOST_BYTES, silenceMs, clock, done }),
        }
      } catch (error) {
        done()
        throw stop.signal.aborted ? stop.signal.reason : error
      }
    },
    close: () => exchange.close(),
  }
}

async function answerOf(reply: Reply, call: Call): Promise<Answer> {
  const seconds = Number(reply.retryAfter ?? Number.NaN)
  return {
    status: reply.status,
    body: await readJson(reply, call.mostBytes ?? MOST_BYTES),
    retryAfterMs: Number.isNaN(seconds) ? undefined : seconds * 1000,
  }
}

async function within<T>(
  limitMs: number,
  clock: Pick<Clock, 'after'>,
  signal: AbortSignal,
  task: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController()
  const cancel = clock.after(limitMs, () => late.abort(tooSlow(limitMs)))
  const both = AbortSignal.any([signal, late.signal])
  try {
    return await task(both)
  } catch (error) {
    throw both.aborted ? both.reason : error
  } finally {
    cancel()
  }
}

function tooSlow(limitMs: number): Error {
  return new Error(`no answer within ${limitMs / 1000} s`)
}

type Exchange = {
  /** Resolves with the answer's head. @throws the socket's own error */
  send(call: Call, credential: Credential, signal: AbortSignal): Promise<Reply>
  /** Closes all connections. */
  close(): void
}

/** Idle connections that all ended with the API server's process are detected one by one. */
const MOST_STALE = 5

/**
 * HTTP/2 where the server speaks it, so that a hundred watches share a connection; else HTTP/1.1.
 */
function createExchange(
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
