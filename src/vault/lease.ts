import type { Revoked } from '../core/ports/leases.ts'
import type { VaultLease } from '../core/ports/vault.ts'
import { leaseOf } from './answer-data.ts'
import type { Ask } from './ask.ts'
import { isFinal, isRefusal, isWorthIt } from './own-token.ts'

/**
 * The lease with a new life; undefined when Vault gives none, or none that is worth it.
 * @throws FaultError when Vault could not be asked
 */
export async function renewLease(
  ask: Ask,
  current: VaultLease,
  now: number,
  signal: AbortSignal,
): Promise<VaultLease | undefined> {
  if (!current.renewable) return undefined
  const renewed = await ask(
    {
      operation: 'renew',
      method: 'POST',
      path: 'sys/leases/renew',
      body: { lease_id: current.id },
      judge: (answer) => leaseOf(answer, now),
      refused: (answer) => (isRefusal(answer) ? { result: undefined } : undefined),
    },
    signal,
  )
  return renewed && isWorthIt(renewed, current) ? renewed : undefined
}

/**
 * Ends the lease by itself, for one whose token cannot be revoked.
 * @throws FaultError when Vault could not be asked, or cannot do it now
 */
export function revokeLease(ask: Ask, { id }: VaultLease, signal: AbortSignal): Promise<Revoked> {
  return ask<Revoked>(
    {
      operation: 'revoke',
      method: 'POST',
      path: 'sys/leases/revoke',
      body: { lease_id: id },
      judge: () => 'revoked',
      refused: (answer) => {
        // A lease that is gone is a 400: "invalid lease".
        if (answer.status === 400 || answer.status === 404) return { result: 'unknown' }
        return isFinal(answer) ? { result: 'not-permitted' } : undefined
      },
    },
    signal,
  )
}
