import { randomUUID } from 'node:crypto'
import { type FaultError, isAbsence, toFault } from '../../core/faults/fault.ts'
import type { IssueRequest } from '../../core/imports/calls.ts'
import type { Clock } from '../../core/ports/clock.ts'
import type { Issuer, Lease } from '../../core/ports/leases.ts'
import type { Log } from '../../core/ports/log.ts'
import type { ServiceAccountToken } from '../../core/ports/pod.ts'
import type { Identity } from '../../core/ports/vault.ts'
import { eachOf } from '../each-of.ts'
import type { Volume } from '../volume.ts'
import {
  bareLease,
  isRevocable,
  leaseReachedAs,
  untilDueMs,
  untilEndMs,
  untilRetryMs,
} from './lease-times.ts'
import type { LeasePersistence } from './persistence.ts'
import type { ScheduledRevocations } from './scheduled-revocations.ts'

/** Of one volume. */
const ISSUES_AT_ONCE = 8

/** Runs a task with service-account tokens to log in with. */
export type WithTokens = <T>(task: (tokens: readonly ServiceAccountToken[]) => Promise<T>) => Promise<T>

/** The issue requests of an import, and the per-volume identity that asks. */
export type Wanted = { issueRequests: readonly IssueRequest[]; perVolumeIdentity: Identity }

/**
 * The leases of a volume: dynamic credentials, certificates, the pod's own Vault token. Each hangs on a Vault token of
 * its own, is renewed for as long as the volume lives, and replaced when it cannot be renewed any more: the new one is
 * in the files before the old one is revoked.
 */
export type Leases = {
  /**
   * Renews what is due of all that the files hold, also leases that the import does not request any more: until the
   * files are written again the pod works with them. Changes no file, never throws.
   */
  renew(volume: Volume, wanted: Wanted, signal: AbortSignal): Promise<Renewed>
  /**
   * Issues all or none; a request for something absent counts as answered. Tokens are saved before they are used.
   * @throws FaultError of the first that failed
   */
  issue(
    requests: readonly IssueRequest[],
    identity: Identity,
    options: { volume: Volume; withTokens: WithTokens; signal: AbortSignal },
  ): Promise<{ issued: Lease[]; absent: ReadonlyMap<string, FaultError> }>
  /** The issued leases are the volume's, and those that they replace are to be revoked: before any file is written. */
  activate(volume: Volume, issued: readonly Lease[], wanted: Wanted): void
  /** Milliseconds until a lease is to be renewed, replaced or revoked; Infinity for never. */
  untilDueMs(volume: Volume): number
  /** The same after a failure: until the next try, at the latest. */
  untilRetryMs(volume: Volume): number
}

export type Renewed = {
  /** To be issued: they never were, or cannot be renewed any more. */
  missing: IssueRequest[]
  /** Why a requested lease could not be renewed yet; it is valid for some more time. */
  failure: FaultError | undefined
}

export function createLeases(deps: {
  issuer: Issuer
  scheduledRevocations: Pick<ScheduledRevocations, 'revokeUnused'>
  persistence: Pick<LeasePersistence, 'save'>
  clock: Clock
  log: Log
}): Leases {
  const { issuer, scheduledRevocations, persistence, clock, log } = deps

  /** @throws FaultError when Vault could not be asked, and the lease is valid for some more time */
  async function renewOne(
    volume: Volume,
    lease: Lease,
    request: IssueRequest,
    signal: AbortSignal,
  ): Promise<'valid' | 'renewed' | 'ending'> {
    const one = { ...lease, request }
    if (untilDueMs(one, clock) > 0) return 'valid'
    const askedAt = clock.monotonic()
    try {
      const renewed = await issuer.renew(one, signal)
      if (renewed === undefined) return 'ending'
      const { token, vaultLease } = renewed
      // A part that is the same object has not been renewed: only one of both was due.
      volume.leases.replace(lease, {
        ...one,
        token: token === one.token ? token : leasedAt(token, askedAt),
        vaultLease: vaultLease === one.vaultLease ? vaultLease : leasedAt(vaultLease, askedAt),
      })
      return 'renewed'
    } catch (error) {
      if (untilEndMs(one, clock) <= 0) return 'ending'
      throw error
    }
  }

  async function issueOne(
    request: IssueRequest,
    identity: Identity,
    options: { volume: Volume; withTokens: WithTokens; signal: AbortSignal },
  ): Promise<Lease> {
    const { volume, withTokens, signal } = options
    const issuedAt = clock.now()
    const askedAt = clock.monotonic()
    const token = leasedAt(await withTokens((tokens) => issuer.logIn(identity, tokens, signal)), askedAt)
    const bare = bareLease({ id: randomUUID(), request, identity, issuedAt, token })
    // In the set until `activate` replaces it: saving the leases meanwhile saves this one too.
    volume.leases.add(bare)
    persistence.save(volume)
    try {
      const { needsToken, vaultLease, ...response } = await issuer.issue(identity, token, request, signal)
      if (!needsToken) await scheduledRevocations.revokeUnused(volume, [bare])
      const lease: Lease = {
        ...bare,
        ...response,
        ...(response.expiresAt === undefined
          ? {}
          : { expiresAtMonotonic: askedAt + response.expiresAt - issuedAt }),
        vaultLease: leasedAt(vaultLease, askedAt),
        // The bare one may stay to be revoked under its own ID, should Vault not revoke its token now.
        id: needsToken ? bare.id : randomUUID(),
        state: 'active',
        token: needsToken ? token : undefined,
      }
      volume.leases.pace.noteIssue(lease, clock)
      return lease
    } catch (error) {
      await scheduledRevocations.revokeUnused(volume, [bare])
      throw error
    }
  }

  return {
    async renew(volume, { issueRequests, perVolumeIdentity }, signal) {
      const { leases } = volume
      const missing = new Set(issueRequests)
      let isAnyRenewed = false
      let failure: FaultError | undefined
      await Promise.all(
        leases.inUse.map(async (lease) => {
          const requested = issueRequests.find((request) => isFor(lease, request, perVolumeIdentity))
          try {
            const outcome = await renewOne(volume, lease, requested ?? lease.request, signal)
            isAnyRenewed ||= outcome === 'renewed'
            if (requested === undefined) return
            leases.pace.noteRenewal(requested.key, outcome === 'ending')
            const isPaced = leases.pace.untilReissueMs(requested.key, clock) > 0
            if (outcome !== 'ending' || isPaced) missing.delete(requested)
          } catch (error) {
            const fault = toFault(error)
            log.debug(
              { identity: lease.identity.key, request: lease.request.key, error: fault },
              'lease not renewed yet',
            )
            if (requested === undefined) return
            missing.delete(requested)
            failure ??= fault
          }
        }),
      )
      if (isAnyRenewed) persistence.save(volume)
      return { missing: [...missing], failure }
    },

    async issue(requests, identity, options) {
      const issued: Lease[] = []
      const absent = new Map<string, FaultError>()
      const issueUnlessAbsent = async (request: IssueRequest) => {
        try {
          issued.push(await issueOne(request, identity, options))
        } catch (error) {
          const fault = toFault(error)
          if (isAbsence(fault)) absent.set(request.key, fault)
          else throw error
        }
      }
      try {
        await eachOf(requests, ISSUES_AT_ONCE, issueUnlessAbsent)
        return { issued, absent }
      } catch (error) {
        await scheduledRevocations.revokeUnused(options.volume, issued)
        throw error
      }
    },

    activate(volume, issued, { issueRequests, perVolumeIdentity }) {
      const { leases, entry } = volume
      const kept = leases.all.flatMap((old): Lease[] => {
        if (issued.some(({ id }) => id === old.id)) return []
        const request = issueRequests.find((one) => isFor(old, one, perVolumeIdentity))
        const isReplaced = request === undefined || issued.some((one) => one.request.key === request.key)
        if (!isReplaced) return [{ ...old, request }]
        return isRevocable(old)
          ? [{ ...old, state: 'revoking', identity: leaseReachedAs(old.identity, perVolumeIdentity) }]
          : []
      })
      leases.set([...kept, ...issued])
      leases.pace.forgetExcept(new Set(issueRequests.map(({ key }) => key)))
      if (leases.all.length > 0 || entry.leaseStoreKey !== undefined) persistence.save(volume)
    },

    untilDueMs({ leases }) {
      const dues = leases.inUse.map((one) =>
        Math.max(untilDueMs(one, clock), leases.pace.untilReissueMs(one.request.key, clock)),
      )
      return Math.min(leases.nextRevocationAt - clock.monotonic(), ...dues)
    },

    untilRetryMs: ({ leases }) =>
      Math.min(Number.POSITIVE_INFINITY, ...leases.inUse.map((one) => untilRetryMs(one, clock))),
  }
}

/** Its life began when it was asked for, whatever the adapter's clock says. */
function leasedAt<Part extends { leasedAt: number } | undefined>(part: Part, at: number): Part {
  return part && { ...part, leasedAt: at }
}

function isFor(lease: Lease, request: IssueRequest, identity: Identity): boolean {
  return lease.state === 'active' && lease.request.key === request.key && lease.identity.key === identity.key
}
