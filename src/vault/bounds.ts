import type { Facts } from '../core/faults/facts.ts'
import { FaultError } from '../core/faults/fault.ts'
import { jsonToNumber } from '../core/json/json.ts'
import type { Json } from '../core/json/types.ts'

/** What is shorter would be asked for without a pause. Milliseconds. */
const SHORTEST_LIFE_MS = 1_000
/** Longer than anything that is meant, in milliseconds: ten years. */
const LONGEST_LIFE_MS = 10 * 365 * 24 * 60 * 60_000
/** Characters. Vault's accessors have some 30. */
const MOST_ACCESSOR = 256
/** Characters: a path, which a call of ours may have, and some 30 more. */
const MOST_LEASE_ID = 4_096 + 256
/** Characters. Batch tokens have some hundreds; a server takes no more than this in a header. */
const MOST_TOKEN = 8 * 1024

/**
 * How long what Vault gave is good, in milliseconds. Vault writes 0 for a life without end, and what is negative or no
 * number tells of no end either.
 */
export function lifeMs(seconds: Json | undefined): number {
  const life = jsonToNumber(seconds) ?? 0
  if (!(life > 0)) return Number.POSITIVE_INFINITY
  return Math.min(Math.max(life * 1000, SHORTEST_LIFE_MS), LONGEST_LIFE_MS)
}

/** Only ever shown, so a part of it does. */
export function accessorOf(accessor: Json | undefined): string {
  return typeof accessor === 'string' ? accessor.slice(0, MOST_ACCESSOR) : ''
}

/** A part of it would be of no use, and all of it goes where room is scarce. @throws FaultError vault_error */
export function checkLeaseId(id: string): void {
  if (id.length > MOST_LEASE_ID) throw tooLong('a lease ID', id, {})
}

/** @throws FaultError vault_error */
export function checkToken(token: string, facts: Facts): void {
  if (token.length > MOST_TOKEN) throw tooLong('a token', token, facts)
}

function tooLong(what: string, { length }: string, facts: Facts): FaultError {
  return new FaultError('vault_error', { ...facts, reason: `${what} of ${length} characters` })
}
