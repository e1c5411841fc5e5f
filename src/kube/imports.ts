import { waitFor } from '../core/collapse.ts'
import { createFairQueue } from '../core/fair-queue.ts'
import { FaultError } from '../core/faults/fault.ts'
import { type ImportSpec, parseImport } from '../core/imports/import.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { ImportSource } from '../core/ports/imports.ts'
import type { Log } from '../core/ports/log.ts'
import type { ValidateImport } from '../core/ports/sandbox.ts'
import type { KubeClient } from './client.ts'
import { createContact } from './contact.ts'
import { describeError } from './failure.ts'
import { type Follower, followImport, NotThere } from './follower.ts'
import type { ImportRef } from './import-calls.ts'
import { createImportNames } from './import-names.ts'
import { createPlaces } from './places.ts'
import { createValidatedImport, type ValidatedImport } from './validated-import.ts'

/** How long start() waits for an answer: pods that run already must not wait for an API server that is away. */
const START_MS = 10_000
/** Reads of imports under way at once. */
const READS_AT_ONCE = { total: 8, perNamespace: 4 }
/** Watches; what more a node or a namespace uses is looked at once a minute. */
const WATCHES = { node: 256, namespace: 128 }
/** Nobody uses it, and it is followed on: pods are replaced, and what failed is tried again within two minutes. */
const LINGER_MS = 150_000
const MOST_LINGERING = 64

export type KubeImports = ImportSource & {
  /** The API server has answered once: what is there, and whether we may read it, is known. */
  synced(): boolean
}

type Listener = (namespace: string, name: string) => void

type Followed = {
  ref: ImportRef
  validated: ValidatedImport
  follower: Follower
  /** Set while nobody uses it. */
  cancelEnd: (() => void) | undefined
}

/**
 * SecretsStoreImports that volumes of this node use: each is read when it is first asked for and watched from then on.
 * Of all others nothing is known, and they cost nothing. Outlives restarts of the API server: what is known is served
 * while it is away.
 */
export function createKubeImports(deps: {
  client: KubeClient
  log: Log
  clock: Clock
  /** From 0 to under 1. */
  random?: () => number
  /** How a manifest is checked; on the spot unless said. */
  validate?: ValidateImport
  /** Told of each manifest that comes, with its faults. */
  onValidated?: (manifest: unknown, faults: readonly string[]) => void
  /** An import is not followed any more. */
  onForgotten?: (namespace: string, name: string) => void
}): KubeImports {
  const { client, log, clock, random = Math.random, onValidated = () => {}, onForgotten = () => {} } = deps
  const { validate = async (manifest: unknown) => parseImport(manifest) } = deps
  const listeners: Listener[] = []
  const contact = createContact({ client, log, clock, random })
  const reads = createFairQueue(READS_AT_ONCE)
  const places = createPlaces(WATCHES)
  const names = createImportNames({ client, clock, reads })
  const followed = new Map<string, Followed>()
  /** Keys of those that nobody uses, longest unused first. */
  const lingering = new Set<string>()
  const closing = new Set<Promise<void>>()
  const stop = new AbortController()

  function follow(ref: ImportRef): Followed {
    const { namespace, name } = ref
    const onChange = () => {
      for (const listener of listeners) listener(namespace, name)
    }
    const validated = createValidatedImport({ ref, log, validate, onChange, onValidated })
    const follower = followImport({ ref, validated, client, clock, random, contact, reads, places })
    const entry: Followed = { ref, validated, follower, cancelEnd: undefined }
    followed.set(keyOf(ref), entry)
    // What could not be read once is not followed: whoever asks again has it read again.
    follower.ready.catch(() => end(entry))
    return entry
  }

  function end(entry: Followed): void {
    const key = keyOf(entry.ref)
    if (followed.get(key) !== entry) return
    followed.delete(key)
    lingering.delete(key)
    entry.cancelEnd?.()
    onForgotten(entry.ref.namespace, entry.ref.name)
    const ending = entry.follower.close().finally(() => closing.delete(ending))
    closing.add(ending)
  }

  function use(entry: Followed): void {
    entry.cancelEnd?.()
    entry.cancelEnd = undefined
    lingering.delete(keyOf(entry.ref))
  }

  async function specOf(entry: Followed, signal: AbortSignal): Promise<ImportSpec> {
    const { namespace, name } = entry.ref
    const where = { importName: name, podNamespace: namespace }
    const failure = await waitFor(entry.follower.ready, signal).then(
      () => undefined,
      (error: unknown) => error,
    )
    signal.throwIfAborted()
    if (failure !== undefined && !(failure instanceof NotThere))
      throw unavailable(entry.ref, describeError(failure))
    const spec = failure === undefined ? entry.validated.get() : undefined
    if (spec !== undefined) return spec
    const known = contact.state()
    // It was deleted, but may well exist again: only an API server that answers can say that it does not.
    if (known.state === 'away')
      throw unavailable(entry.ref, `"${name}" is not among those known, and ${known.reason}`)
    throw new FaultError('import_not_found', { ...where, known: await names.of(namespace, signal) })
  }

  function unavailable({ namespace, name }: ImportRef, reason: string): FaultError {
    return new FaultError('imports_unavailable', {
      importName: name,
      podNamespace: namespace,
      address: client.server,
      reason,
    })
  }

  return {
    async get(namespace, name, signal) {
      signal.throwIfAborted()
      stop.signal.throwIfAborted()
      const ref = { namespace, name }
      const entry = followed.get(keyOf(ref)) ?? follow(ref)
      use(entry)
      return specOf(entry, signal)
    },
    forget(namespace, name) {
      const key = keyOf({ namespace, name })
      const entry = followed.get(key)
      if (entry === undefined || entry.cancelEnd !== undefined) return
      lingering.add(key)
      entry.cancelEnd = clock.after(LINGER_MS, () => end(entry))
      const [oldest] = lingering
      const over = lingering.size > MOST_LINGERING && oldest !== undefined && followed.get(oldest)
      if (over) end(over)
    },
    onChange: (listener) => {
      listeners.push(listener)
    },
    synced: () => contact.hasAnswered(),
    async start(signal) {
      contact.start()
      const waited = new AbortController()
      const limit = clock.sleep(START_MS, AbortSignal.any([signal, waited.signal]))
      await Promise.race([contact.back(AbortSignal.any([signal, stop.signal])), limit]).finally(() => {
        limit.catch(() => {})
        waited.abort()
      })
      if (!contact.hasAnswered())
        log.warn({ server: client.server }, 'started without imports, the API server is tried on')
    },
    async close() {
      stop.abort()
      for (const entry of followed.values()) end(entry)
      await contact.close()
      await Promise.all(closing)
    },
  }
}

/** Neither part can hold a slash. */
function keyOf({ namespace, name }: ImportRef): string {
  return `${namespace}/${name}`
}
