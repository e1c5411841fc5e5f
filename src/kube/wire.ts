import type { OutgoingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
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
  /** What the answer is to be; application/json when not given. */
  accept?: string
  /** Of the answer; an object's worth when not given. */
  mostBytes?: number
  /** For the whole call, or for the head of a watch's answer; 30 s when not given. */
  limitMs?: number
}

/** The head of an answer, and its body as it comes. */
export type Reply = {
  status: number
  retryAfter: string | undefined
  body: Readable
  /** Asked at the body's end: whether that was the answer's end, and not the connection's. */
  isWhole(): boolean
}

/** A call as it goes over the wire. */
export type Request = {
  method: string
  /** With its query. */
  path: string
  /** Names in lower case. */
  headers: OutgoingHttpHeaders
  body: string | undefined
}

/** Sends requests one way. @throws StaleConnection; the socket's own error */
export type Transport = {
  send(request: Request, credential: Credential, signal: AbortSignal): Promise<Reply>
  close(): void
}

/** The server closed an idle connection just when it was used again: nothing was answered. */
export class StaleConnection extends Error {}

/** The server speaks HTTP/1.1 alone. */
export class NoHttp2 extends Error {}
