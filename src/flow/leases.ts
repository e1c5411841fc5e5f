import { randomUUID } from 'node:crypto'
import type { Order } from '../core/call.ts'
import { type FaultError, isAbsence, toFault } from '../core/errors.ts'
import type { Holding, Issuer } from '../core/issued.ts'
import type { Clock, Identity, Log, ServiceAccountToken } from '../core/ports.ts'
import { bareHolding, dueAt, endOf, isBare, isDue, isRevocable, reachedAs, retryAt } from './holding.ts'
import type { Revocations } from './revocations.ts'
import type { Safekeeping } from './safekeeping.ts'
import type { MountedVolume, Volumes } from './volumes.ts'

/**
 * How long what was replaced stays good after the new is in the files, in milliseconds: an application that has read
 * the old a moment ago, or looks at its files every few seconds, is not refused. It may end by itself sooner.
 */
const NOTICE_MS = 30_000
/** What can be taken back no more once it has ended is taken back so long before, in milliseconds. */
const BEFORE_END_MS = 5_000

/** Runs a task with service-account tokens to log in with. */
export type WithTokens = <T>(task: (tokens: readonly ServiceAccountToken[]) => Promise<T>) => Promise<T>

/**
 * What is issued to one volume alone: dynamic credentials, certificates, the pod's own Vault token. Each hangs on a
 * Vault token of its own, renewed for as long as the volume lives, and replaced when it can be renewed no more: the new
 * one is in the files before the old one is taken back.
 */
export type Leases = {
  /**
   * Prolongs what is due of all that the files hold, also what is not ordered any more: until the files are made anew
   * the pod works with it. Changes no file, never throws.
   */
  keep(volume: MountedVolume, orders: readonly Order[], own: Identity, signal: AbortSignal): Promise<Kept>
  /**
   * Issues all or nothing, where nothing to issue is an answer too. Tokens are written down before they are used.
   * @throws FaultError of the first that failed
   */
  issue(
    orders: readonly Order[],
    own: Identity,
    ask: { volume: MountedVolume; withTokens: WithTokens; signal: AbortSignal },
  ): Promise<{ fresh: Holding[]; absent: ReadonlyMap<string, FaultError> }>
  /** From now on `fresh` is what the volume holds, and what it replaces is to be revoked: before any file is written. */
  adopt(volume: MountedVolume, fresh: readonly Holding[], orders: readonly Order[], own: Identity): void
  /** The files are made from what is held: what was replaced goes when applications have had time to notice. */
  retire(volume: MountedVolume): void
  /** Takes back what was replaced and has had its time. Never throws. */
  settle(volume: MountedVolume): Promise<void>
  /** The volume goes, and all that was issued to it. Never throws. */
  release(volume: Pick<MountedVolume, 'holdings'>): Promise<void>
  /** Never in any file: taken back at once. Never throws. */
  discard(volume: MountedVolume, holdings: readonly Holding[]): Promise<void>
  restore: Safekeeping['restore']
  /** When something must be done next: milliseconds since the Unix epoch, Infinity for never. */
  dueAt(volume: MountedVolume): number
  /** The same after a failure: when to try again, at the latest. */
  retryAt(volume: MountedVolume): number
}

export type Kept = {
  /** What must be issued, for it never was or can be prolonged no more. */
  missing: Order[]
  /** Why something that is ordered could not be prolonged yet; it is good for some more time. */
  failure: FaultError | undefined
}

export function createLeases(deps: {
  issuer: Issuer
  revocations: Revocations
  safekeeping: Safekeeping
  volumes: Pick<Volumes, 'get'>
  clock: Clock
  log: Log
}): Leases {
  const { issuer, revocations, safekeeping, volumes, clock, log } = deps
  const { remember, restore } = safekeeping

  function replace(volume: MountedVolume, old: Holding, now: Holding): void {
    volume.holdings = volume.holdings.map((one) => (one === old ? now : one))
  }

  /** @throws FaultError when Vault could not be asked, and it is good for some more time */
  async function prolong(
    volume: MountedVolume,
    held: Holding,
    order: Order,
    signal: AbortSignal,
  ): Promise<'good' | 'renewed' | 'ending'> {
    const one = { ...held, order }
    if (!isDue(one, clock.now())) return 'good'
    try {
      const renewed = await issuer.renew(one, signal)
      if (renewed === undefined) return 'ending'
      replace(volume, held, { ...one, ...renewed })
      return 'renewed'
    } catch (error) {
      if (endOf(one) <= clock.now()) return 'ending'
      throw error
    }
  }

  async function issueOne(
    order: Order,
    own: Identity,
    ask: { volume: MountedVolume; withTokens: WithTokens; signal: AbortSignal },
  ): Promise<Holding> {
    const { volume, withTokens, signal } = ask
    const issuedAt = clock.now()
    const token = await withTokens((tokens) => issuer.logIn(own, tokens, signal))
    const bare = bareHolding({ id: randomUUID(), order, identity: own, issuedAt, token })
    // Until `adopt` puts in its place what was issued: whoever writes down the holdings meanwhile writes this one too.
    volume.holdings = [...volume.holdings, bare]
    remember(volume)
    try {
      const { needsToken, ...issued } = await issuer.issue(own, token, order, signal)
      if (!needsToken) await discard(volume, [bare])
      return { ...bare, ...issued, state: 'held', token: needsToken ? token : undefined }
    } catch (error) {
      await discard(volume, [bare])
      throw error
    }
  }

  /** What Vault does not take back now is tried again: from the volume's holdings, where a kill does not lose it. */
  async function discard(volume: MountedVolume, holdings: readonly Holding[]): Promise<void> {
    const left = await revocations.revoke(holdings.filter(isRevocable))
    const ids = new Set(holdings.map(({ id }) => id))
    volume.holdings = volume.holdings.filter(({ id }) => !ids.has(id))
    if (volumes.get(volume.entry.targetPath) !== volume) {
      if (left.length > 0) void revocations.revokeSurely(left)
      return
    }
    volume.holdings = [...volume.holdings, ...left.map((one) => ({ ...one, state: 'retiring' as const }))]
    for (const { id } of left) volume.retireAt.set(id, clock.now() + NOTICE_MS)
    remember(volume)
  }

  return {
    async keep(volume, orders, own, signal) {
      const missing = new Set(orders)
      let isRenewed = false
      let failure: FaultError | undefined
      await Promise.all(
        inUse(volume).map(async (held) => {
          const ordered = orders.find((order) => isHeldFor(held, order, own))
          try {
            const outcome = await prolong(volume, held, ordered ?? held.order, signal)
            isRenewed ||= outcome === 'renewed'
            if (ordered !== undefined && outcome !== 'ending') missing.delete(ordered)
          } catch (error) {
            const fault = toFault(error)
            log.debug({ identity: held.identity.key, order: held.order.key, error: fault }, 'not renewed yet')
            if (ordered === undefined) return
            missing.delete(ordered)
            failure ??= fault
          }
        }),
      )
      if (isRenewed) remember(volume)
      return { missing: [...missing], failure }
    },

    async issue(orders, own, ask) {
      const fresh: Holding[] = []
      const absent = new Map<string, FaultError>()
      const failures: unknown[] = []
      const issueAny = async (order: Order) => {
        try {
          fresh.push(await issueOne(order, own, ask))
        } catch (error) {
          const fault = toFault(error)
          if (isAbsence(fault)) absent.set(order.key, fault)
          else failures.push(error)
        }
      }
      await Promise.all(orders.map(issueAny))
      if (failures.length === 0) return { fresh, absent }
      await discard(ask.volume, fresh)
      throw failures[0]
    },

    adopt(volume, fresh, orders, own) {
      const before = volume.holdings.flatMap((old): Holding[] => {
        if (fresh.some(({ id }) => id === old.id)) return []
        const order = orders.find((one) => isHeldFor(old, one, own))
        const isReplaced = order === undefined || fresh.some((one) => one.order.key === order.key)
        if (!isReplaced) return [{ ...old, order }]
        return isRevocable(old) ? [{ ...old, state: 'retiring', identity: reachedAs(old.identity, own) }] : []
      })
      volume.holdings = [...before, ...fresh]
      if (volume.holdings.length > 0 || volume.entry.safeKey !== undefined) remember(volume)
    },

    retire(volume) {
      for (const one of volume.holdings) {
        if (one.state !== 'retiring' || volume.retireAt.has(one.id)) continue
        volume.retireAt.set(one.id, Math.min(clock.now() + NOTICE_MS, endOf(one) - BEFORE_END_MS))
      }
    },

    async settle(volume) {
      const over = volume.holdings.filter(({ id }) => {
        const at = volume.retireAt.get(id)
        // Further away than any notice: the clock was set back.
        return at !== undefined && (at <= clock.now() || at > clock.now() + NOTICE_MS)
      })
      if (over.length === 0) return
      const left = await revocations.revoke(over)
      const isGone = (one: Holding) =>
        over.includes(one) && (!left.includes(one) || endOf(one) <= clock.now())
      for (const one of over) {
        if (isGone(one)) volume.retireAt.delete(one.id)
        else volume.retireAt.set(one.id, clock.now() + NOTICE_MS)
      }
      volume.holdings = volume.holdings.filter((one) => !isGone(one))
      remember(volume)
    },

    release: ({ holdings }) =>
      revocations.revokeSurely(
        holdings.filter((one) => isRevocable(one) && (one.order.revokeOnUnmount || one.state === 'retiring')),
      ),

    discard,

    restore,

    dueAt: (volume) =>
      Math.min(Number.POSITIVE_INFINITY, ...inUse(volume).map(dueAt), ...volume.retireAt.values()),

    retryAt: (volume) =>
      Math.min(Number.POSITIVE_INFINITY, ...inUse(volume).map((one) => retryAt(one, clock.now()))),
  }
}

/** What the files hold or are about to: also what is replaced, until new files stand. */
function inUse({ holdings, retireAt }: MountedVolume): Holding[] {
  return holdings.filter((one) => one.state === 'held' || !(retireAt.has(one.id) || isBare(one)))
}

function isHeldFor(holding: Holding, order: Order, own: Identity): boolean {
  return holding.state === 'held' && holding.order.key === order.key && holding.identity.key === own.key
}
