import type { Meter } from '../../src/core/ports/metrics.ts'

/** Counts by name and labels. */
export class FakeMeter implements Meter {
  readonly counts = new Map<string, number>()

  published = (result: string): void => this.#add(`published ${result}`)
  unpublished = (result: string): void => this.#add(`unpublished ${result}`)
  refreshed = (result: string, fault: string): void => this.#add(`rotated ${result} ${fault}`.trim())
  vaultCall = (operation: string, result: string): void => this.#add(`vault ${operation} ${result}`)
  login = (method: string, result: string): void => this.#add(`login ${method} ${result}`)

  count(name: string): number {
    return this.counts.get(name) ?? 0
  }

  #add(name: string): void {
    this.counts.set(name, this.count(name) + 1)
  }
}
