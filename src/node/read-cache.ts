import { createHash, randomBytes } from 'node:crypto'
import { FaultError, isAbsence, toFault } from '../core/faults/fault.ts'
import { textOf } from '../core/json/value.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { ServiceAccountToken } from '../core/ports/pod.ts'
import type { Identity, SecretData, SecretStore } from '../core/ports/vault.ts'
import { backoffMs } from '../core/schedule.ts'
import { eachOf } from './each-of.ts'
import { putBounded } from './put-bounded.ts'

/** Of one import; other imports' reads are served between. */
const READS_AT_ONCE = 8
/** Of one identity: eight times as many as one import may read; a forgotten path is read again. */
const MOST_PATHS = 1024
/** A path whose answer differed so often in a row gives each reader another one: its changes are not announced. */
const MOST_CHANGES_IN_A_ROW = 3
/** Volumes that start together share a read: its answer is recorded several times within so many milliseconds. */
const SAME_READ_MS = 1_000

/** The values of a path, or the fault that says that it has none: an import may tolerate the latter. */
export type Answer = SecretData | FaultError

/** The answers of all paths of one import. */
export type Reads = {
  answers: ReadonlyMap<string, Answer>
  digests: ReadonlyMap<string, string>
  /** When the oldest of them was given, by Clock.monotonic(). */
  at: number
}

export type ReadOptions = {
  tokens: readonly ServiceAccountToken[]
  intervalMs: number
  /** A change is not announced: another volume's read has announced it. */
  isWoken: boolean
  /** Called after each answer with the size of all of them, in characters; ends the read by throwing. */
  onSize: (total: number) => void
  signal: AbortSignal
}

/**
 * Remembers when each (identity, path) was last read and a digest of its answer, so that the volumes of one identity
 * share reads: calls to Vault grow with identities and paths, not with pods.
 * Keeps no secret: digests are keyed with a random key that dies with the process.
 */
export type ReadCache = {
  /**
   * Digests, when all paths were read within `maxAgeMs`.
   * @throws FaultError the last failure, while its backoff lasts
   */
  recent(identity: Identity, paths: readonly string[], maxAgeMs: number): Omit<Reads, 'answers'> | undefined
  /** Asks Vault. @throws FaultError the first failure that is not an absence; what `onSize` throws */
  read(identity: Identity, paths: readonly string[], options: ReadOptions): Promise<Reads>
  /** Milliseconds until the longest backoff of these paths ends; undefined when none fails. */
  untilRetryMs(identity: Identity, paths: readonly string[]): number | undefined
  /** Calls back when a path holds something else than before, or answers again. */
  onChange(listener: (identityKey: string) => void): void
  forget(identityKey: string): void
}

export function createReadCache(deps: {
  store: Pick<SecretStore, 'read'>
  clock: Clock
  random: () => number
}): ReadCache {
  const { store, clock, random } = deps
  const cachedReads = createCachedReads()
  const listeners: ((identityKey: string) => void)[] = []
  const digestKey = randomBytes(32).toString('base64url')

  function digestOf(answer: Answer): { digest: string; size: number } {
    if (answer instanceof FaultError) {
      return { digest: `${answer.fault}:${answer.facts.version ?? ''}`, size: 0 }
    }
    // The key in front is enough: digests are compared here and never leave the process. An Hmac costs ten times as much.
    const digest = createHash('sha256').update(digestKey)
    let size = 0
    for (const [key, value] of answer.values) {
      const text = textOf(value)
      // Lengths keep apart pairs that would read alike put together.
      digest.update(`${key.length} ${key} ${typeof value} ${text.length} `).update(text)
      size += key.length + text.length
    }
    return { digest: digest.digest('base64url'), size }
  }

  async function readOne(identity: Identity, path: string, options: ReadOptions) {
    const { tokens, intervalMs, isWoken, signal } = options
    const at = clock.monotonic()
    const answer = await store.read(identity, path, tokens, signal).catch((error: unknown) => {
      const fault = toFault(error)
      if (isAbsence(fault)) return fault
      // An abort says nothing about Vault: other volumes of the identity ask for themselves. Without a
      // service-account token Vault was not asked: kubelet's next token may be tried at once.
      if (!signal.aborted && fault.fault !== 'token_missing') recordFailure(identity, path, fault, intervalMs)
      throw fault
    })
    const { digest, size } = digestOf(answer)
    const isNews = cachedReads.recordAnswer(identity.key, path, { at, digest })
    if (isNews && !isWoken) for (const listener of listeners) listener(identity.key)
    return { answer, digest, size, at }
  }

  function recordFailure(identity: Identity, path: string, error: FaultError, intervalMs: number): void {
    const now = clock.monotonic()
    cachedReads.recordFailure(identity.key, path, error, (failures) => {
      const { retryAfterMs } = error.facts
      return now + backoffMs({ retry: error.retry, failures, intervalMs, retryAfterMs, random: random() })
    })
  }

  return {
    recent(identity, paths, maxAgeMs) {
      const now = clock.monotonic()
      const known = paths.map((path) => cachedReads.get(identity.key, path))
      for (const cached of known) if (isBackingOff(cached, now)) throw cached.error
      const digests = new Map<string, string>()
      let oldest = now
      for (const [index, path] of paths.entries()) {
        const cached = known[index]
        if (cached?.state !== 'answered' || now - cached.at > maxAgeMs) return undefined
        digests.set(path, cached.digest)
        oldest = Math.min(oldest, cached.at)
      }
      return { digests, at: oldest }
    },

    async read(identity, paths, options) {
      const byPath = new Map<string, Awaited<ReturnType<typeof readOne>>>()
      let total = 0
      await eachOf(paths, READS_AT_ONCE, async (path) => {
        const one = await readOne(identity, path, options)
        total += one.size
        options.onSize(total)
        byPath.set(path, one)
      })
      const answers = new Map<string, Answer>()
      const digests = new Map<string, string>()
      let oldest = clock.monotonic()
      for (const path of paths) {
        const one = byPath.get(path)
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
        const cached = cachedReads.get(identity.key, path)
        if (cached?.state === 'failing') latest = Math.max(latest ?? 0, cached.retryAt)
      }
      return latest === undefined ? undefined : Math.max(0, latest - clock.monotonic())
    },

    onChange(listener) {
      listeners.push(listener)
    },

    forget: cachedReads.forget,
  }
}

function isBackingOff(
  cached: CachedRead | undefined,
  now: number,
): cached is CachedRead & { state: 'failing' } {
  return cached?.state === 'failing' && now < cached.retryAt
}

type CachedRead = {
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
type CachedReads = {
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

function createCachedReads(): CachedReads {
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
