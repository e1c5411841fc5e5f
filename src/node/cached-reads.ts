import type { FaultError } from '../core/faults/fault.ts'
import { putBounded } from './bounded.ts'

/** Of one identity: eight times what one import may read; what is forgotten is read. */
const MOST_PATHS = 1024
/** A path whose answer differed so often in a row gives each asker something else: nobody is woken for it any more. */
const RESTLESS = 3
/** Volumes that start together share a read: one answer, seen several times within so many milliseconds. */
const SAME_LOOK_MS = 1_000

export type Sighting = {
  digest: string | undefined
  /** How often in a row it was another one. */
  changes: number
  /** By Clock.monotonic(), as retryAt. */
  at: number
} & (
  | { state: 'seen'; digest: string }
  | { state: 'failing'; failures: number; retryAt: number; error: FaultError }
)

/** What each path of each identity was last seen to hold. */
export type Sightings = {
  get(identityKey: string, path: string): Sighting | undefined
  /** @returns whether volumes of the identity should hear of it */
  seen(identityKey: string, path: string, now: { at: number; digest: string }): boolean
  /** @param retryAt when to try again, after so many failures in a row */
  failed(identityKey: string, path: string, error: FaultError, retryAt: (failures: number) => number): void
  forget(identityKey: string): void
}

export function createSightings(): Sightings {
  const byIdentity = new Map<string, Map<string, Sighting>>()

  function put(identityKey: string, path: string, sighting: Sighting): void {
    const ofIdentity = byIdentity.get(identityKey) ?? new Map<string, Sighting>()
    byIdentity.set(identityKey, ofIdentity)
    putBounded(ofIdentity, path, sighting, MOST_PATHS)
  }

  const get: Sightings['get'] = (identityKey, path) => byIdentity.get(identityKey)?.get(path)

  return {
    get,
    seen(identityKey, path, now) {
      const before = get(identityKey, path)
      const changes = changesAfter(before, now)
      put(identityKey, path, { ...now, state: 'seen', changes })
      if (before === undefined) return false
      const isOther = before.digest !== undefined && before.digest !== now.digest
      return before.state === 'failing' || (isOther && changes < RESTLESS)
    },
    failed(identityKey, path, error, retryAt) {
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

function changesAfter(before: Sighting | undefined, now: { at: number; digest: string }): number {
  if (before?.digest === undefined) return 0
  if (before.digest !== now.digest) return before.changes + 1
  return now.at - before.at > SAME_LOOK_MS ? 0 : before.changes
}
