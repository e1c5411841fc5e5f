import type { Fault } from '../../src/core/faults/facts.ts'

/** What t.rejects and t.throws compare with: the fault, and the message when it matters. */
export function faulty(fault: Fault, message?: RegExp): Error {
  return { fault, ...(message && { message }) } as unknown as Error
}
