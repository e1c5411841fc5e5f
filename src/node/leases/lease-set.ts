import type { IssueRequest } from '../../core/imports/calls.ts'
import type { Lease } from '../../core/ports/leases.ts'
import { IssuePace } from './issue-pace.ts'
import { isBare } from './lease-times.ts'

/** The leases of one volume. Only its own methods change them. */
export class LeaseSet {
  #all: readonly Lease[]
  /** When a replaced lease is to be revoked, by its ID: by Clock.monotonic(). */
  readonly #revokeAt = new Map<string, number>()
  #isLossReported = false
  readonly pace = new IssuePace()

  constructor(all: readonly Lease[]) {
    this.#all = all
  }

  get all(): readonly Lease[] {
    return this.#all
  }

  /** In the files or about to be: also a replaced lease, until the new files are written. */
  get inUse(): Lease[] {
    return this.#all.filter((one) => one.state === 'active' || !(this.#revokeAt.has(one.id) || isBare(one)))
  }

  /** Without those that are issued again. */
  activeExcept(replaced: readonly IssueRequest[] = []): Lease[] {
    return this.#all.filter(
      ({ state, request }) => state === 'active' && !replaced.some(({ key }) => key === request.key),
    )
  }

  /** By Clock.monotonic(); Infinity for never. */
  get nextRevocationAt(): number {
    return Math.min(Number.POSITIVE_INFINITY, ...this.#revokeAt.values())
  }

  isScheduled({ id }: Lease): boolean {
    return this.#revokeAt.has(id)
  }

  /** @param now by Clock.monotonic() */
  dueForRevocation(now: number): Lease[] {
    return this.#all.filter(({ id }) => (this.#revokeAt.get(id) ?? Number.POSITIVE_INFINITY) <= now)
  }

  add(lease: Lease): void {
    this.#all = [...this.#all, lease]
  }

  replace(old: Lease, now: Lease): void {
    this.#all = this.#all.map((one) => (one === old ? now : one))
  }

  /** Drops the dates of leases that are not there any more: they would be due for ever. */
  set(all: readonly Lease[]): void {
    this.#all = all
    const ids = new Set(all.map(({ id }) => id))
    for (const id of this.#revokeAt.keys()) if (!ids.has(id)) this.#revokeAt.delete(id)
  }

  /** @param at by Clock.monotonic() */
  scheduleRevocation({ id }: Lease, at: number): void {
    this.#revokeAt.set(id, at)
  }

  /** They would not survive a restart. @returns whether that is news */
  noteLoss(): boolean {
    const isNews = !this.#isLossReported
    this.#isLossReported = true
    return isNews
  }
}
