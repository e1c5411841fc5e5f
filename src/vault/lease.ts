import type { Lease } from '../core/issued.ts'
import { leaseOf } from './answer-data.ts'
import type { Ask } from './ask.ts'
import { isRefusal, isWorthIt } from './own-token.ts'

/**
 * The lease with a new life; undefined when Vault gives none, or none that is worth it.
 * @throws FaultError when Vault could not be asked
 */
export async function renewLease(
  ask: Ask,
  current: Lease,
  now: number,
  signal: AbortSignal,
): Promise<Lease | undefined> {
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
 * Ends the lease by itself, for one whose token cannot be revoked. One that is gone already is success.
 * @throws FaultError
 */
export async function revokeLease(ask: Ask, { id }: Lease, signal: AbortSignal): Promise<void> {
  await ask(
    {
      operation: 'revoke',
      method: 'POST',
      path: 'sys/leases/revoke',
      body: { lease_id: id },
      judge: () => undefined,
    },
    signal,
  )
}
