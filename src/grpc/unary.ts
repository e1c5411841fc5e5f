import { type handleUnaryCall, type ServerUnaryCall, status } from '@grpc/grpc-js'
import type { FaultError } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import type { Pod } from '../core/ports/pod.ts'
import { limitCall } from './call-limit.ts'

export type Handler<Request, Response> = (
  request: Request,
  signal: AbortSignal,
) => Response | Promise<Response>

/** Names from a request, for log lines. */
export type Subject = { volumeId?: string; pod?: Pod }

export type UnaryOptions<Request> = {
  /** As it reads after "while": "publishing the volume". */
  doing: string
  /** Takes names from the request. A whole request is never logged: it holds tokens. */
  subject?: (request: Request) => Subject
  log: Log
  clock: Clock
}

/** Longer than our messages should be. Encoded as a trailer it grows ninefold at worst, and peers limit trailers. */
const MAX_DETAILS = 4000

/**
 * Makes an RPC of a handler: limits its time, turns its failure into a gRPC status with a message that is safe for the
 * wire, and logs the failure once.
 */
export function unary<Request, Response>(
  handler: Handler<Request, Response>,
  options: UnaryOptions<Request>,
): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    serve(call, handler, options).then(
      (response) => callback(null, response),
      (fault: FaultError) => callback({ code: status[fault.status], details: wireText(fault.message) }),
    )
  }
}

/** @throws FaultError only */
async function serve<Request, Response>(
  call: ServerUnaryCall<Request, Response>,
  handler: Handler<Request, Response>,
  options: UnaryOptions<Request>,
): Promise<Response> {
  const { log, clock } = options
  const startedAt = clock.monotonic()
  const limit = limitCall(call, options.doing, clock)
  try {
    return await Promise.race([handler(call.request, limit.signal), limit.overdue])
  } catch (error) {
    const fault = limit.blame(error)
    const durationMs = clock.monotonic() - startedAt
    logFailure(log, { method: call.getPath(), durationMs, ...options.subject?.(call.request) }, fault)
    throw fault
  } finally {
    limit.end()
  }
}

function logFailure(log: Log, fields: object, error: FaultError): void {
  const level = error.status === 'INTERNAL' ? 'error' : 'warn'
  log[level]({ ...fields, code: error.status, error }, 'call failed')
}

/** grpc-js percent-encodes details with encodeURI, which throws on half a surrogate pair. */
function wireText(message: string): string {
  const cut = message.length > MAX_DETAILS ? `${message.slice(0, MAX_DETAILS - 1)}…` : message
  return cut.toWellFormed()
}
