import { createHash, randomBytes } from 'node:crypto'
import { FaultError, isAbsence, toFault } from '../core/faults/fault.ts'
import { textOf } from '../core/json/value.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { ServiceAccountToken } from '../core/ports/pod.ts'
import type { Identity, SecretData, SecretStore } from '../core/ports/vault.ts'
import { backoffMs } from '../core/schedule.ts'
import { createSightings } from './cached-reads.ts'
import { eachOf } from './pool.ts'

/** Of one import; others' calls have their turns between. */
const READS_AT_ONCE = 8

/** What a path held, or the fault that says that it holds nothing: an import may tolerate the latter. */
export type Answer = SecretData | FaultError

/** The answers of all paths of one import. */
export type Look = {
  answers: ReadonlyMap<string, Answer>
  digests: ReadonlyMap<string, string>
  /** When the oldest of them was given, by Clock.monotonic(). */
  at: number
}

export type Ask = {
  tokens: readonly ServiceAccountToken[]
  intervalMs: number
  /** Another volume has seen a change: what this read finds is told to nobody else. */
  isWoken?: boolean
  /** Told after each answer how large all are together, in characters; throws when it has had enough. */
  weigh?: (total: number) => void
  signal: AbortSignal
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
  /** Asks Vault. @throws FaultError the first failure that is not an absence; what `weigh` throws */
  read(identity: Identity, paths: readonly string[], ask: Ask): Promise<Look>
  /** Milliseconds until the longest backoff of these paths ends; undefined when none fails. */
  untilRetryMs(identity: Identity, paths: readonly string[]): number | undefined
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
  const sightings = createSightings()
  const listeners: ((identityKey: string) => void)[] = []
  const digestKey = randomBytes(32).toString('base64url')

  function digestOf(answer: Answer): { digest: string; size: number } {
    if (answer instanceof FaultError) {
      return { digest: `${answer.fault}:${answer.facts.version ?? ''}`, size: 0 }
    }
    // The key in front is enough: digests are compared here and shown to nobody. An Hmac costs ten times as much.
    const digest = createHash('sha256').update(digestKey)
    let size = 0
    for (const [key, value] of answer.values) {
      const text = textOf(value)
      // Lengths keep apart what would read alike put together.
      digest.update(`${key.length} ${key} ${typeof value} ${text.length} `).update(text)
      size += key.length + text.length
    }
    return { digest: digest.digest('base64url'), size }
  }

  async function readOne(identity: Identity, path: string, ask: Ask) {
    const at = clock.monotonic()
    const answer = await store.read(identity, path, ask.tokens, ask.signal).catch((error: unknown) => {
      const fault = toFault(error)
      if (isAbsence(fault)) return fault
      // Who gave up waiting has learnt nothing of Vault: other volumes of the identity ask for themselves.
      const isTold = !ask.signal.aborted
      // Without a service-account token nobody asked Vault: kubelet's next token may be tried at once.
      if (isTold && fault.fault !== 'token_missing') failed(identity, path, fault, ask.intervalMs)
      throw fault
    })
    const { digest, size } = digestOf(answer)
    const hasMoved = sightings.seen(identity.key, path, { at, digest })
    if (hasMoved && !ask.isWoken) for (const listener of listeners) listener(identity.key)
    return { answer, digest, size, at }
  }

  function failed(identity: Identity, path: string, error: FaultError, intervalMs: number): void {
    const now = clock.monotonic()
    sightings.failed(identity.key, path, error, (failures) => {
      const { retryAfterMs } = error.facts
      return now + backoffMs({ retry: error.retry, failures, intervalMs, retryAfterMs, random: random() })
    })
  }

  return {
    recent(identity, paths, maxAgeMs) {
      const now = clock.monotonic()
      const known = paths.map((path) => sightings.get(identity.key, path))
      for (const sighting of known) {
        if (sighting?.state === 'failing' && now < sighting.retryAt) throw sighting.error
      }
      const digests = new Map<string, string>()
      let oldest = now
      for (const [index, path] of paths.entries()) {
        const sighting = known[index]
        if (sighting?.state !== 'seen' || now - sighting.at > maxAgeMs) return undefined
        digests.set(path, sighting.digest)
        oldest = Math.min(oldest, sighting.at)
      }
      return { digests, at: oldest }
    },

    async read(identity, paths, ask) {
      const found = new Map<string, Awaited<ReturnType<typeof readOne>>>()
      let total = 0
      await eachOf(paths, READS_AT_ONCE, async (path) => {
        const one = await readOne(identity, path, ask)
        total += one.size
        ask.weigh?.(total)
        found.set(path, one)
      })
      const answers = new Map<string, Answer>()
      const digests = new Map<string, string>()
      let oldest = clock.monotonic()
      for (const path of paths) {
        const one = found.get(path)
        if (one === undefined) continue
        answers.set(path, one.answer)
        digests.set(path, one.digest)
        oldest = Math.min(oldest, one.at)
      }
      return { answers, digests, at: oldest }
    },

    untilRetryMs(identity, paths) {
      let latest: number | undefined
      for (const path of paths) {
        const sighting = sightings.get(identity.key, path)
        if (sighting?.state === 'failing') latest = Math.max(latest ?? 0, sighting.retryAt)
      }
      return latest === undefined ? undefined : Math.max(0, latest - clock.monotonic())
    },

    onMoved(listener) {
      listeners.push(listener)
    },

    forget: sightings.forget,
  }
}
