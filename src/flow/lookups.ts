import { createHash, randomBytes } from 'node:crypto'
import { FaultError, isAbsence, toFault } from '../core/errors.ts'
import type { Clock, Identity, SecretData, SecretStore, ServiceAccountToken } from '../core/ports.ts'
import { backoffMs } from '../core/schedule.ts'
import { jsonOf } from '../core/value.ts'

/** What a path held, or the fault that says that it holds nothing: an import may tolerate the latter. */
export type Answer = SecretData | FaultError

/** The answers of all paths of one import. */
export type Look = {
  answers: ReadonlyMap<string, Answer>
  digests: ReadonlyMap<string, string>
  /** When the oldest of them was given. */
  at: number
}

type Sighting =
  | { state: 'seen'; at: number; digest: string }
  | {
      state: 'failing'
      at: number
      digest: string | undefined
      failures: number
      retryAt: number
      error: FaultError
    }

/**
 * Remembers when each (identity, path) was last looked at and a digest of what it held, so that the volumes of one
 * identity share a look: calls to Vault grow with identities and paths, not with pods.
 * Keeps no secret: digests are keyed with a random key that dies with the process.
 */
export type Lookups = {
  /**
   * What is known without asking: digests when all paths were seen within `maxAgeMs`.
   * @throws FaultError the last failure, while its backoff lasts
   */
  recent(identity: Identity, paths: readonly string[], maxAgeMs: number): Omit<Look, 'answers'> | undefined
  /** Asks Vault. @throws FaultError the first failure that is not an absence */
  read(
    identity: Identity,
    paths: readonly string[],
    ask: { tokens: readonly ServiceAccountToken[]; intervalMs: number; signal: AbortSignal },
  ): Promise<Look>
  /** When the longest backoff of these paths ends; undefined when none fails. */
  retryAt(identity: Identity, paths: readonly string[]): number | undefined
  /** Calls back when a path holds something else than before, or answers again. */
  onMoved(listener: (identityKey: string) => void): void
  forget(identityKey: string): void
}

export function createLookups(deps: {
  store: Pick<SecretStore, 'read'>
  clock: Clock
  random: () => number
}): Lookups {
  const { store, clock, random } = deps
  const sightings = new Map<string, Map<string, Sighting>>()
  const listeners: ((identityKey: string) => void)[] = []
  const digestKey = randomBytes(32).toString('base64url')

  function digestOf(answer: Answer): string {
    if (answer instanceof FaultError) return `${answer.fault}:${answer.facts.version ?? ''}`
    // The key in front is enough: digests are compared here and shown to nobody. An Hmac costs ten times as much.
    const digest = createHash('sha256').update(digestKey)
    for (const [key, value] of answer.values) digest.update(`${JSON.stringify(key)}:${jsonOf(value)},`)
    return digest.digest('base64url')
  }

  function record(identity: Identity, path: string, sighting: Sighting): void {
    const ofIdentity = sightings.get(identity.key) ?? new Map<string, Sighting>()
    sightings.set(identity.key, ofIdentity)
    const before = ofIdentity.get(path)
    ofIdentity.set(path, sighting)
    if (before === undefined || sighting.state === 'failing') return
    const moved = before.state === 'failing' || before.digest !== sighting.digest
    if (moved) for (const listener of listeners) listener(identity.key)
  }

  function recordFailure(identity: Identity, path: string, error: FaultError, intervalMs: number): void {
    const before = sightings.get(identity.key)?.get(path)
    const failures = before?.state === 'failing' ? before.failures + 1 : 1
    const { retryAfterMs } = error.facts
    const delayMs = backoffMs({ retry: error.retry, failures, intervalMs, retryAfterMs, random: random() })
    const at = clock.now()
    record(identity, path, {
      state: 'failing',
      at,
      digest: before?.digest,
      failures,
      retryAt: at + delayMs,
      error,
    })
  }

  async function readOne(
    identity: Identity,
    path: string,
    ask: { tokens: readonly ServiceAccountToken[]; intervalMs: number; signal: AbortSignal },
  ): Promise<{ path: string; answer: Answer; digest: string; at: number }> {
    const at = clock.now()
    const answer = await store.read(identity, path, ask.tokens, ask.signal).catch((error: unknown) => {
      const fault = toFault(error)
      if (isAbsence(fault)) return fault
      // Who gave up waiting has learnt nothing of Vault: other volumes of the identity ask for themselves.
      const isTold = !ask.signal.aborted
      // Without a service-account token nobody asked Vault: kubelet's next token may be tried at once.
      if (isTold && fault.fault !== 'token_missing') recordFailure(identity, path, fault, ask.intervalMs)
      throw fault
    })
    const digest = digestOf(answer)
    record(identity, path, { state: 'seen', at, digest })
    return { path, answer, digest, at }
  }

  return {
    recent(identity, paths, maxAgeMs) {
      const now = clock.now()
      const digests = new Map<string, string>()
      let oldest = now
      for (const path of paths) {
        const sighting = sightings.get(identity.key)?.get(path)
        if (sighting === undefined) return undefined
        if (sighting.state === 'failing') {
          if (now < sighting.retryAt) throw sighting.error
          return undefined
        }
        if (now - sighting.at > maxAgeMs) return undefined
        digests.set(path, sighting.digest)
        oldest = Math.min(oldest, sighting.at)
      }
      return { digests, at: oldest }
    },
    async read(identity, paths, ask) {
      const looks = await Promise.allSettled(paths.map((path) => readOne(identity, path, ask)))
      const answers = new Map<string, Answer>()
      const digests = new Map<string, string>()
      let oldest = clock.now()
      for (const look of looks) {
        if (look.status === 'rejected') throw look.reason
        answers.set(look.value.path, look.value.answer)
        digests.set(look.value.path, look.value.digest)
        oldest = Math.min(oldest, look.value.at)
      }
      return { answers, digests, at: oldest }
    },
    retryAt(identity, paths) {
      let latest: number | undefined
      for (const path of paths) {
        const sighting = sightings.get(identity.key)?.get(path)
        if (sighting?.state === 'failing') latest = Math.max(latest ?? 0, sighting.retryAt)
      }
      return latest
    },
    onMoved(listener) {
      listeners.push(listener)
    },
    forget(identityKey) {
      sightings.delete(identityKey)
    },
  }
}
