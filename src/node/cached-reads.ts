import type { FaultError } from '../core/faults/fault.ts'
import { putBounded } from './bounded.ts'

/** Of one identity: eight times as many as one import may read; a forgotten path is read again. */
const MOST_PATHS = 1024
/** A path whose answer differed so often in a row gives each reader another one: its changes are not announced. */
const MOST_CHANGES_IN_A_ROW = 3
/** Volumes that start together share a read: its answer is recorded several times within so many milliseconds. */
const SAME_READ_MS = 1_000

export type CachedRead = {
  digest: string | undefined
  /** How often in a row the answer was another one. */
  changes: number
  /** By Clock.monotonic(), as retryAt. */
  at: number
} & (
  | { state: 'answered'; digest: string }
  | { state: 'failing'; failures: number; retryAt: number; error: FaultError }
)

/** The last read of each path by each identity. */
export type CachedReads = {
  get(identityKey: string, path: string): CachedRead | undefined
  /** @returns whether to announce it to the identity's volumes */
  recordAnswer(identityKey: string, path: string, now: { at: number; digest: string }): boolean
  /** @param retryAt when to try again, after so many failures in a row */
  recordFailure(
    identityKey: string,
    path: string,
    error: FaultError,
    retryAt: (failures: number) => number,
  ): void
  forget(identityKey: string): void
}

export function createCachedReads(): CachedReads {
  const byIdentity = new Map<string, Map<string, CachedRead>>()

  function put(identityKey: string, path: string, cached: CachedRead): void {
    const ofIdentity = byIdentity.get(identityKey) ?? new Map<string, CachedRead>()
    byIdentity.set(identityKey, ofIdentity)
    putBounded(ofIdentity, path, cached, MOST_PATHS)
  }

  const get: CachedReads['get'] = (identityKey, path) => byIdentity.get(identityKey)?.get(path)

  return {
    get,
    recordAnswer(identityKey, path, now) {
      const before = get(identityKey, path)
      const changes = changesAfter(before, now)
      put(identityKey, path, { ...now, state: 'answered', changes })
      if (before === undefined) return false
      const isOther = before.digest !== undefined && before.digest !== now.digest
      return before.state === 'failing' || (isOther && changes < MOST_CHANGES_IN_A_ROW)
    },
    recordFailure(identityKey, path, error, retryAt) {
      const before = get(identityKey, path)
      const failures = before?.state === 'failing' ? before.failures + 1 : 1
      const { digest, changes = 0, at = 0 } = before ?? {}
      put(identityKey, path, {
        ...{ state: 'failing', digest, changes, at, error },
        failures,
        retryAt: retryAt(failures),
      })
    },
    forget: (identityKey) => void byIdentity.delete(identityKey),
  }
}

function changesAfter(before: CachedRead | undefined, now: { at: number; digest: string }): number {
  if (before?.digest === undefined) return 0
  if (before.digest !== now.digest) return before.changes + 1
  return now.at - before.at > SAME_READ_MS ? 0 : before.changes
}
