import { randomUUID } from 'node:crypto'
import { type FaultError, isAbsence, toFault } from '../../core/faults/fault.ts'
import type { IssueRequest } from '../../core/imports/calls.ts'
import type { Clock } from '../../core/ports/clock.ts'
import type { Issuer, Lease } from '../../core/ports/leases.ts'
import type { Log } from '../../core/ports/log.ts'
import type { ServiceAccountToken } from '../../core/ports/pod.ts'
import type { Identity } from '../../core/ports/vault.ts'
import { eachOf } from '../pool.ts'
import type { MountedVolume } from '../volumes.ts'
import { noteEnding, noteIssue, untilReissueMs } from './issue-pace.ts'
import {
  bareHolding,
  isBare,
  isRevocable,
  reachedAs,
  untilDueMs,
  untilEndMs,
  untilRetryMs,
} from './lease-times.ts'
import type { Safekeeping } from './persistence.ts'
import { type Retiring, setHoldings } from './scheduled-revocations.ts'

/** Of one volume. */
const ISSUES_AT_ONCE = 8

/** Runs a task with service-account tokens to log in with. */
export type WithTokens = <T>(task: (tokens: readonly ServiceAccountToken[]) => Promise<T>) => Promise<T>

/**
 * What is issued to one volume alone: dynamic credentials, certificates, the pod's own Vault token. Each hangs on a
 * Vault token of its own, renewed for as long as the volume lives, and replaced when it can be renewed no more: the new
 * one is in the files before the old one is taken back.
 */
export type Leases = Pick<Retiring, 'retire' | 'settle' | 'release' | 'discard'> & {
  /**
   * Prolongs what is due of all that the files hold, also what is not ordered any more: until the files are made anew
   * the pod works with it. Changes no file, never throws.
   */
  keep(
    volume: MountedVolume,
    requests: readonly IssueRequest[],
    own: Identity,
    signal: AbortSignal,
  ): Promise<Kept>
  /**
   * Issues all or nothing, where nothing to issue is an answer too. Tokens are written down before they are used.
   * @throws FaultError of the first that failed
   */
  issue(
    requests: readonly IssueRequest[],
    own: Identity,
    ask: { volume: MountedVolume; withTokens: WithTokens; signal: AbortSignal },
  ): Promise<{ fresh: Lease[]; absent: ReadonlyMap<string, FaultError> }>
  /** From now on `fresh` is what the volume holds, and what it replaces is to be revoked: before any file is written. */
  adopt(
    volume: MountedVolume,
    fresh: readonly Lease[],
    requests: readonly IssueRequest[],
    own: Identity,
  ): void
  restore: Safekeeping['restore']
  /** Milliseconds until something must be done next; Infinity for never. */
  untilDueMs(volume: MountedVolume): number
  /** The same after a failure: until the next try, at the latest. */
  untilRetryMs(volume: MountedVolume): number
}

export type Kept = {
  /** What must be issued, for it never was or can be prolonged no more. */
  missing: IssueRequest[]
  /** Why something that is ordered could not be prolonged yet; it is good for some more time. */
  failure: FaultError | undefined
}

export function createLeases(deps: {
  issuer: Issuer
  retiring: Retiring
  safekeeping: Safekeeping
  clock: Clock
  log: Log
}): Leases {
  const { issuer, retiring, safekeeping, clock, log } = deps
  const { discard } = retiring
  const { remember, restore } = safekeeping

  function replace(volume: MountedVolume, old: Lease, now: Lease): void {
    volume.holdings = volume.holdings.map((one) => (one === old ? now : one))
  }

  /** @throws FaultError when Vault could not be asked, and it is good for some more time */
  async function prolong(
    volume: MountedVolume,
    held: Lease,
    request: IssueRequest,
    signal: AbortSignal,
  ): Promise<'good' | 'renewed' | 'ending'> {
    const one = { ...held, request }
    if (untilDueMs(one, clock) > 0) return 'good'
    const askedAt = clock.monotonic()
    try {
      const renewed = await issuer.renew(one, signal)
      if (renewed === undefined) return 'ending'
      const { token, vaultLease } = renewed
      // What is as it was has not been renewed: only one of both was due.
      replace(volume, held, {
        ...one,
        token: token === one.token ? token : since(token, askedAt),
        vaultLease: vaultLease === one.vaultLease ? vaultLease : since(vaultLease, askedAt),
      })
      return 'renewed'
    } catch (error) {
      if (untilEndMs(one, clock) <= 0) return 'ending'
      throw error
    }
  }

  async function issueOne(
    request: IssueRequest,
    own: Identity,
    ask: { volume: MountedVolume; withTokens: WithTokens; signal: AbortSignal },
  ): Promise<Lease> {
    const { volume, withTokens, signal } = ask
    const issuedAt = clock.now()
    const askedAt = clock.monotonic()
    const token = since(await withTokens((tokens) => issuer.logIn(own, tokens, signal)), askedAt)
    const bare = bareHolding({ id: randomUUID(), request, identity: own, issuedAt, token })
    // Until `adopt` puts in its place what was issued: whoever writes down the holdings meanwhile writes this one too.
    volume.holdings = [...volume.holdings, bare]
    remember(volume)
    try {
      const { needsToken, vaultLease, ...issued } = await issuer.issue(own, token, request, signal)
      if (!needsToken) await discard(volume, [bare])
      const holding: Lease = {
        ...bare,
        ...issued,
        ...(issued.expiresAt === undefined
          ? {}
          : { expiresAtMonotonic: askedAt + issued.expiresAt - issuedAt }),
        vaultLease: since(vaultLease, askedAt),
        // The token that asked may stay to be revoked under its own name, should Vault not take it back now.
        id: needsToken ? bare.id : randomUUID(),
        state: 'held',
        token: needsToken ? token : undefined,
      }
      noteIssue(volume, holding, clock)
      return holding
    } catch (error) {
      await discard(volume, [bare])
      throw error
    }
  }

  return {
    async keep(volume, requests, own, signal) {
      const missing = new Set(requests)
      let isRenewed = false
      let failure: FaultError | undefined
      await Promise.all(
        inUse(volume).map(async (held) => {
          const requested = requests.find((request) => isHeldFor(held, request, own))
          try {
            const outcome = await prolong(volume, held, requested ?? held.request, signal)
            isRenewed ||= outcome === 'renewed'
            if (requested === undefined) return
            noteEnding(volume, requested.key, outcome === 'ending')
            if (outcome !== 'ending' || untilReissueMs(volume, requested.key, clock) > 0)
              missing.delete(requested)
          } catch (error) {
            const fault = toFault(error)
            log.debug(
              { identity: held.identity.key, request: held.request.key, error: fault },
              'not renewed yet',
            )
            if (requested === undefined) return
            missing.delete(requested)
            failure ??= fault
          }
        }),
      )
      if (isRenewed) remember(volume)
      return { missing: [...missing], failure }
    },

    async issue(requests, own, ask) {
      const fresh: Lease[] = []
      const absent = new Map<string, FaultError>()
      const issueAny = async (request: IssueRequest) => {
        try {
          fresh.push(await issueOne(request, own, ask))
        } catch (error) {
          const fault = toFault(error)
          if (isAbsence(fault)) absent.set(request.key, fault)
          else throw error
        }
      }
      try {
        await eachOf(requests, ISSUES_AT_ONCE, issueAny)
        return { fresh, absent }
      } catch (error) {
        await discard(ask.volume, fresh)
        throw error
      }
    },

    adopt(volume, fresh, requests, own) {
      const before = volume.holdings.flatMap((old): Lease[] => {
        if (fresh.some(({ id }) => id === old.id)) return []
        const request = requests.find((one) => isHeldFor(old, one, own))
        const isReplaced = request === undefined || fresh.some((one) => one.request.key === request.key)
        if (!isReplaced) return [{ ...old, request }]
        return isRevocable(old) ? [{ ...old, state: 'retiring', identity: reachedAs(old.identity, own) }] : []
      })
      setHoldings(volume, [...before, ...fresh])
      for (const key of volume.issued.keys()) {
        if (!requests.some((request) => request.key === key)) volume.issued.delete(key)
      }
      if (volume.holdings.length > 0 || volume.entry.leaseStoreKey !== undefined) remember(volume)
    },

    retire: retiring.retire,
    settle: retiring.settle,
    release: retiring.release,
    discard,
    restore,

    untilDueMs(volume) {
      const now = clock.monotonic()
      const dues = inUse(volume).map((one) =>
        Math.max(untilDueMs(one, clock), untilReissueMs(volume, one.request.key, clock)),
      )
      const ends = [...volume.retireAt.values()].map((at) => at - now)
      return Math.min(Number.POSITIVE_INFINITY, ...dues, ...ends)
    },

    untilRetryMs: (volume) =>
      Math.min(Number.POSITIVE_INFINITY, ...inUse(volume).map((one) => untilRetryMs(one, clock))),
  }
}

/** Whatever clock Vault's adapter goes by: it was given when it was asked for. */
function since<Part extends { leasedAt: number } | undefined>(part: Part, leasedAt: number): Part {
  return part && { ...part, leasedAt }
}

/** What the files hold or are about to: also what is replaced, until new files stand. */
function inUse({ holdings, retireAt }: MountedVolume): Lease[] {
  return holdings.filter((one) => one.state === 'held' || !(retireAt.has(one.id) || isBare(one)))
}

function isHeldFor(holding: Lease, request: IssueRequest, own: Identity): boolean {
  return holding.state === 'held' && holding.request.key === request.key && holding.identity.key === own.key
}
