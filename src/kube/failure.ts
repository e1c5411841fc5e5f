import { joinMessages, scrub } from '../core/faults/fault.ts'
import type { Answer } from './client.ts'

/** Why a call brought no answer, in one line: `connect ECONNREFUSED 10.0.0.1:443`. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error'
  // Node's whole message for an answer that ends before its end.
  if (error.message === 'aborted') return 'the connection was cut off'
  // Node tries every address of a name; then the words are in the parts.
  const [first] = error instanceof AggregateError ? error.errors : []
  const words = error.message || (first instanceof Error ? first.message : '')
  return scrub(words || ('code' in error ? String(error.code) : error.name))
}

/** What the API server said: `403 Forbidden: secretsstoreimports… is forbidden: User "…" cannot list …`. */
export function describeAnswer({ status, body }: Answer): string {
  const reason = fieldOf(body, 'reason')
  const message = fieldOf(body, 'message')
  const words = [reason, message].filter((one) => one !== '')
  const told = joinMessages(words, ': ')
  return scrub(told ? `${status} ${told}` : String(status))
}

/** It may pass by itself: too many requests, conflicts with a restart, server errors. */
export function isPassing({ status }: Answer): boolean {
  return status === 429 || status >= 500
}

export function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
}
