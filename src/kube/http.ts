import type { OutgoingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import type { Clock } from '../core/ports/clock.ts'
import type { Credential } from './connection.ts'

/** One request to the API server. */
export type Call = {
  method: 'GET' | 'POST' | 'PATCH'
  /** Beginning with a slash, without a query. */
  path: string
  query?: Readonly<Record<string, string>>
  body?: object
  /** Of the body; application/json when not given. */
  contentType?: string
  /** Media type of the answer; application/json when not given. */
  accept?: string
  /** Of the answer; by default enough for one object. */
  mostBytes?: number
  /** For the whole call, or for the head of a watch's answer; 30 s when not given. */
  limitMs?: number
}

/** The head of an answer, and its body as a stream. */
export type Reply = {
  status: number
  retryAfter: string | undefined
  body: Readable
  /** Called at the body's end: false when the connection ended before the answer did. */
  isWhole(): boolean
}

/** A call with its headers and credential. */
export type Request = {
  method: string
  /** With its query. */
  path: string
  /** Names in lower case. */
  headers: OutgoingHttpHeaders
  body: string | undefined
}

/** One version of HTTP. @throws StaleConnection; the socket's own error */
export type Transport = {
  send(request: Request, credential: Credential, signal: AbortSignal): Promise<Reply>
  close(): void
}

/** The server closed an idle connection just when it was used again: nothing was answered. */
export class StaleConnection extends Error {}

/** The server speaks HTTP/1.1 only. */
export class NoHttp2 extends Error {}

/** The answer exceeds its limit. */
export class TooLarge extends Error {}

/**
 * The whole body as JSON; undefined when it is empty or something else.
 * @throws TooLarge; Error when it is cut off
 */
export async function readJson({ body, isWhole }: Body, mostBytes: number): Promise<unknown> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body) {
    length += chunk.length
    if (length > mostBytes) throw new TooLarge(`the answer is larger than ${mostBytes} bytes`)
    chunks.push(chunk)
  }
  if (!isWhole()) throw cutOff()
  return parseJson(Buffer.concat(chunks).toString('utf8'))
}

/**
 * The body's lines without empty ones, not parsed yet.
 * @param options.mostBytes of one line
 * @param options.silenceMs fails after so long without a byte
 * @param options.done called once when the stream is over, however it ends
 */
export async function* readLines(
  { body, isWhole }: Body,
  options: { mostBytes: number; silenceMs: number; clock: Pick<Clock, 'after'>; done: () => void },
): AsyncGenerator<string> {
  const { mostBytes, silenceMs, clock, done } = options
  const watchdog = () =>
    clock.after(silenceMs, () => body.destroy(new Error(`silent for ${silenceMs / 1000} s`)))
  let cancel = watchdog()
  /** Of an incomplete line: joined once, as a large one arrives in a hundred chunks. */
  let parts: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      cancel()
      cancel = watchdog()
      let from = 0
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
        const line = Buffer.concat([...parts, chunk.subarray(from, end)]).toString('utf8')
        parts = []
        length = 0
        from = end + 1
        if (line !== '') yield line
      }
      parts.push(chunk.subarray(from))
      length += chunk.length - from
      if (length > mostBytes) throw new TooLarge(`a line is larger than ${mostBytes} bytes`)
    }
    if (!isWhole()) throw cutOff()
  } finally {
    cancel()
    done()
  }
}

const NEWLINE = 10

type Body = Pick<Reply, 'body' | 'isWhole'>

function cutOff(): Error {
  return new Error('the connection was cut off')
}

/** Undefined when the text is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
