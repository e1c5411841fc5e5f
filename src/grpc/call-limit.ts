import type { ServerUnaryCall } from '@grpc/grpc-js'
import { FaultError, toFault } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'

/** kubelet waits 2 minutes: we stop 10 s before and say why, else its user reads "context deadline exceeded". */
const BUDGET_MS = 110_000
/** Of a caller with less patience a fifth is kept for the answer's way back, at most this. */
const MAX_RESERVE_MS = 1000
/** How long an aborted handler may take to say what it was at. */
const MAX_SETTLE_MS = 500

type Call = Pick<ServerUnaryCall<unknown, unknown>, 'getDeadline' | 'on'>

export type CallLimit = {
  /** Aborts when time is up or the caller hung up; its reason is a FaultError `deadline`. */
  signal: AbortSignal
  /** Rejects when an aborted handler still has not ended. */
  overdue: Promise<never>
  /** What the caller is told about the handler's failure: after an abort, that time was up and what was going on. */
  blame(error: unknown): FaultError
  /** The call is over: stops the timers. */
  end(): void
}

/**
 * The time that one call has: until a little before its own deadline, at most 110 s.
 * @param doing what goes on meanwhile, as it reads after "while": "publishing the volume"
 */
export function limitCall(call: Call, doing: string, clock: Clock): CallLimit {
  const abort = new AbortController()
  const overdue = Promise.withResolvers<never>()
  // Without a race on it (the handler was quick) its rejection is nobody's business.
  overdue.promise.catch(() => {})

  const giveUp = (reason: string) => abort.abort(new FaultError('deadline', { reason }))
  const { abortMs, settleMs } = patience(call, clock)
  const timers = [
    clock.after(abortMs, () => giveUp(doing)),
    clock.after(abortMs + settleMs, () => overdue.reject(abort.signal.reason)),
  ]
  const end = () => {
    for (const cancel of timers) cancel()
    timers.length = 0
  }
  // @grpc/grpc-js emits it after every call, also after an answered one.
  call.on('cancelled', () => {
    if (timers.length > 0) giveUp(`${doing} (the caller hung up)`)
  })
  return { signal: abort.signal, overdue: overdue.promise, blame: (error) => blame(abort.signal, error), end }
}

/** grpc-js knows deadlines in wall time alone: read once, as the call begins, before anybody can set the clock. */
function patience(call: Call, clock: Clock): { abortMs: number; settleMs: number } {
  const leftMs = Number(call.getDeadline()) - clock.now()
  const reserveMs = Math.min(MAX_RESERVE_MS, Math.max(0, leftMs) / 5)
  const abortMs = Math.max(0, Math.min(BUDGET_MS, leftMs - reserveMs))
  return { abortMs, settleMs: Math.min(MAX_SETTLE_MS, reserveMs / 2) }
}

function blame(signal: AbortSignal, error: unknown): FaultError {
  const fault = toFault(error)
  if (!signal.aborted || fault.fault === 'deadline') return fault
  // Where the handler was when it was stopped is worth telling; that it was aborted is not.
  const { serverMessage: _message, reason: _reason, retryAfterMs: _retry, ...places } = fault.facts
  return toFault(signal.reason).with(places)
}
