import { randomUUID } from 'node:crypto'
import type { Order } from '../core/call.ts'
import type {
  Clock,
  Holding,
  Identity,
  Issuer,
  LedgerStore,
  Log,
  Mounter,
  OwnToken,
  Safe,
  ServiceAccountToken,
} from '../core/ports.ts'
import { bareHolding, dueAt, endOf, isDue } from './holding.ts'
import type { Revocations } from './revocations.ts'
import type { MountedVolume } from './volumes.ts'

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
   * Prolongs what is due. Changes no file.
   * @returns the orders that must be issued, for they never were or can be prolonged no more
   * @throws FaultError when Vault could not be asked: what is held stays
   */
  keep(volume: MountedVolume, orders: readonly Order[], own: Identity, signal: AbortSignal): Promise<Order[]>
  /**
   * Issues all or nothing.
   * @param volume where tokens are written down before they are used; undefined before there is one
   * @throws FaultError of the first that failed
   */
  issue(
    orders: readonly Order[],
    own: Identity,
    ask: { volume: MountedVolume | undefined; withTokens: WithTokens; signal: AbortSignal },
  ): Promise<Holding[]>
  /** From now on `fresh` is what the volume holds, and what it replaces is to be revoked: before any file is written. */
  adopt(volume: MountedVolume, fresh: readonly Holding[], orders: readonly Order[], own: Identity): void
  /** The files are made from what is held: what was replaced goes when applications have had time to notice. */
  retire(volume: MountedVolume): void
  /** Takes back what was replaced and has had its time. Never throws. */
  settle(volume: MountedVolume): Promise<void>
  /** The volume goes, and all that was issued to it. Never throws. */
  release(volume: Pick<MountedVolume, 'holdings'>): Promise<void>
  /** Never in any file: taken back at once. Never throws. */
  discard(holdings: readonly Holding[]): Promise<void>
  /** What an earlier process left. */
  restore(targetPath: string, safeKey: string | undefined): Holding[]
  /** When something must be done next: milliseconds since the Unix epoch, Infinity for never. */
  dueAt(volume: MountedVolume): number
}

export function createLeases(deps: {
  issuer: Issuer
  revocations: Revocations
  safe: Safe
  ledger: Pick<LedgerStore, 'put'>
  mounter: Pick<Mounter, 'isMounted'>
  clock: Clock
  log: Log
}): Leases {
  const { issuer, revocations, safe, ledger, mounter, clock, log } = deps

  function remember(volume: MountedVolume): void {
    const { entry, holdings } = volume
    // Unpublished while Vault was asked: it must not come back into the ledger.
    if (!mounter.isMounted(entry.targetPath)) return
    if (entry.safeKey === undefined) {
      if (holdings.length === 0) return
      entry.safeKey = safe.newKey()
      ledger.put(entry)
    }
    if (safe.put(entry.targetPath, entry.safeKey, holdings) || volume.isForgetful) return
    volume.isForgetful = true
    const { volumeId, pod, importName } = entry
    log.warn(
      { volumeId, pod, importName },
      'what is issued cannot be kept over a restart, it would be replaced',
    )
  }

  function replace(volume: MountedVolume, old: Holding, now: Holding | undefined): void {
    volume.holdings = volume.holdings.flatMap((one) => (one === old ? (now ?? []) : one))
  }

  async function issueOne(
    order: Order,
    own: Identity,
    ask: { volume: MountedVolume | undefined; withTokens: WithTokens; signal: AbortSignal },
  ): Promise<Holding> {
    const { volume, withTokens, signal } = ask
    const issuedAt = clock.now()
    const token = await withTokens((tokens) => issuer.logIn(own, tokens, signal))
    const bare = bareHolding({ id: randomUUID(), order, identity: own, issuedAt, token })
    if (volume !== undefined) {
      volume.holdings = [...volume.holdings, bare]
      remember(volume)
    }
    try {
      const { needsToken, ...issued } = await issuer.issue(own, token, order, signal)
      const holding: Holding = { ...bare, ...issued, state: 'held', token: needsToken ? token : undefined }
      if (!needsToken) await revocations.revokeSurely([bare])
      return holding
    } catch (error) {
      await revocations.revokeSurely([bare])
      throw error
    } finally {
      if (volume !== undefined) replace(volume, bare, undefined)
    }
  }

  return {
    async keep(volume, orders, own, signal) {
      const now = clock.now()
      const missing: Order[] = []
      let isChanged = false
      for (const order of orders) {
        const held = volume.holdings.find((one) => isHeldFor(one, order, own))
        if (held === undefined) missing.push(order)
        if (held === undefined || !isDue({ ...held, order }, now)) continue
        const renewed = await issuer.renew({ ...held, order }, signal)
        if (renewed === undefined) missing.push(order)
        else replace(volume, held, { ...held, ...renewed, order })
        isChanged ||= renewed !== undefined
      }
      if (isChanged) remember(volume)
      return missing
    },

    async issue(orders, own, ask) {
      const outcomes = await Promise.allSettled(orders.map((order) => issueOne(order, own, ask)))
      const issued = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
      const failed = outcomes.find((outcome) => outcome.status === 'rejected')
      if (failed === undefined) return issued
      await revocations.revokeSurely(issued.filter(isRevocable))
      throw failed.reason
    },

    adopt(volume, fresh, orders, own) {
      const isReplaced = (old: Holding) =>
        !orders.some((order) => isHeldFor(old, order, own)) ||
        fresh.some(({ order }) => order.key === old.order.key)
      const before = volume.holdings
        .filter((old) => !isReplaced(old) || isRevocable(old))
        .map((old) => (isReplaced(old) ? { ...old, state: 'retiring' as const } : old))
      volume.holdings = [...before, ...fresh]
      if (before.length + fresh.length > 0 || volume.entry.safeKey !== undefined) remember(volume)
    },

    retire(volume) {
      for (const one of volume.holdings) {
        if (one.state !== 'retiring' || volume.retireAt.has(one.id)) continue
        volume.retireAt.set(one.id, Math.min(clock.now() + NOTICE_MS, endOf(one) - BEFORE_END_MS))
      }
    },

    async settle(volume) {
      const isOver = (one: Holding) =>
        (volume.retireAt.get(one.id) ?? Number.POSITIVE_INFINITY) <= clock.now()
      const over = volume.holdings.filter(isOver)
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

    discard: (holdings) => revocations.revokeSurely(holdings.filter(isRevocable)),

    restore: (targetPath, safeKey) => (safeKey === undefined ? [] : (safe.get(targetPath, safeKey) ?? [])),

    dueAt: ({ holdings, retireAt }) =>
      Math.min(
        Number.POSITIVE_INFINITY,
        ...holdings.filter(({ state }) => state === 'held').map(dueAt),
        ...retireAt.values(),
      ),
  }
}

function isHeldFor(holding: Holding, order: Order, own: Identity): boolean {
  return holding.state === 'held' && holding.order.key === order.key && holding.identity.key === own.key
}

/** Without a token nothing hangs on it: a certificate ends by its notAfter. */
function isRevocable(holding: Holding): holding is Holding & { token: OwnToken } {
  return holding.token !== undefined
}
