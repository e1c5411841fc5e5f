import type { ServerUnaryCall } from '@grpc/grpc-js'
import { FaultError, toFault } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'

/** kubelet waits 2 minutes. We stop 10 s earlier and say why; otherwise users only see "context deadline exceeded". */
const BUDGET_MS = 110_000
/** For a shorter deadline, a fifth of it is reserved for sending the response, at most this. */
const MAX_RESERVE_MS = 1000
/** How long an aborted handler may take to fail with a reason. */
const MAX_UNWIND_MS = 500

type Call = Pick<ServerUnaryCall<unknown, unknown>, 'getDeadline' | 'on'>

export type CallLimit = {
  /** Aborts when time is up or the caller cancels; its reason is a FaultError `deadline`. */
  signal: AbortSignal
  /** Rejects when an aborted handler has still not ended. */
  overdue: Promise<never>
  /** The fault to report for the handler's failure. After an abort: that time was up, and what the handler was doing. */
  blame(error: unknown): FaultError
  /** The call is over: stops the timers. */
  end(): void
}

/**
 * The time that one call has: until a little before its own deadline, at most 110 s.
 * @param doing the work, as it reads after "while": "publishing the volume"
 */
export function limitCall(call: Call, doing: string, clock: Clock): CallLimit {
  const abort = new AbortController()
  const overdue = Promise.withResolvers<never>()
  // It may reject after the handler has won the race: then nothing awaits it.
  overdue.promise.catch(() => {})

  const abortWith = (reason: string) => abort.abort(new FaultError('deadline', { reason }))
  const { abortMs, unwindMs } = timeLimits(call, clock)
  const timers = [
    clock.after(abortMs, () => abortWith(doing)),
    clock.after(abortMs + unwindMs, () => overdue.reject(abort.signal.reason)),
  ]
  const end = () => {
    for (const cancel of timers) cancel()
    timers.length = 0
  }
  // @grpc/grpc-js emits it after every call, also after an answered one.
  call.on('cancelled', () => {
    if (timers.length > 0) abortWith(`${doing} (the caller hung up)`)
  })
  return { signal: abort.signal, overdue: overdue.promise, blame: (error) => blame(abort.signal, error), end }
}

/** grpc-js has deadlines only in wall time: this reads it once, as the call begins, before the clock can be set. */
function timeLimits(call: Call, clock: Clock): { abortMs: number; unwindMs: number } {
  const leftMs = Number(call.getDeadline()) - clock.now()
  const reserveMs = Math.min(MAX_RESERVE_MS, Math.max(0, leftMs) / 5)
  const abortMs = Math.max(0, Math.min(BUDGET_MS, leftMs - reserveMs))
  return { abortMs, unwindMs: Math.min(MAX_UNWIND_MS, reserveMs / 2) }
}

function blame(signal: AbortSignal, error: unknown): FaultError {
  const fault = toFault(error)
  if (!signal.aborted || fault.fault === 'deadline') return fault
  // Report what the handler was working on, not that it was aborted.
  const { serverMessage: _message, reason: _reason, retryAfterMs: _retry, ...places } = fault.facts
  return toFault(signal.reason).with(places)
}
