import { joinMessages, scrub } from '../core/faults/fault.ts'
import type { Answer } from './client.ts'

/** Why a call had no answer, in one line: `connect ECONNREFUSED 10.0.0.1:443`. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error'
  // Node's message for a body that is cut off.
  if (error.message === 'aborted') return 'the connection was cut off'
  // Node tries every address of a host; then the messages are in the parts.
  const [first] = error instanceof AggregateError ? error.errors : []
  const message = error.message || (first instanceof Error ? first.message : '')
  return scrub(message || ('code' in error ? String(error.code) : error.name))
}

/** The API server's answer in one line: `403 Forbidden: secretsstoreimports… is forbidden: User "…" cannot list …`. */
export function describeAnswer({ status, body }: Answer): string {
  const reason = fieldOf(body, 'reason')
  const message = fieldOf(body, 'message')
  const words = [reason, message].filter((one) => one !== '')
  const text = joinMessages(words, ': ')
  return scrub(text ? `${status} ${text}` : String(status))
}

/** Worth a retry: too many requests, or a server error. */
export function isPassing({ status }: Answer): boolean {
  return status === 429 || status >= 500
}

export function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
}
