import { waitFor } from '../core/collapse.ts'
import { createFairQueue } from '../core/fair-queue.ts'
import { FaultError } from '../core/faults/fault.ts'
import { type ImportSpec, parseImport } from '../core/imports/import.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { ImportSource } from '../core/ports/imports.ts'
import type { Log } from '../core/ports/log.ts'
import type { ValidateImport } from '../core/ports/sandbox.ts'
import { createApiServerHealth } from './api-server-health.ts'
import type { KubeClient } from './client.ts'
import { describeError } from './failure.ts'
import { type Follower, followImport, NotThere } from './follower.ts'
import type { ImportRef } from './import-calls.ts'
import { createImportNames } from './import-names.ts'
import { createValidatedImport, type ValidatedImport } from './validated-import.ts'
import { createWatchSlots } from './watch.ts'

/** How long start() waits for an answer: running pods must not wait for an API server that is down. */
const START_MS = 10_000
/** Reads of imports under way at once. */
const READS_AT_ONCE = { total: 8, perNamespace: 4 }
/** Watches; further imports of the node or namespace are read once a minute. */
const WATCHES = { node: 256, namespace: 128 }
/** An unused import is followed for so long: pods are replaced, and kubelet retries within two minutes. */
const LINGER_MS = 150_000
const MOST_LINGERING = 64

export type KubeImports = ImportSource & {
  /** The API server has answered at least once. */
  synced(): boolean
}

type Listener = (namespace: string, name: string) => void

type Followed = {
  ref: ImportRef
  validated: ValidatedImport
  follower: Follower
  /** Set while it is unused. */
  cancelEnd: (() => void) | undefined
}

/**
 * SecretsStoreImports that volumes of this node use: each is read at its first use and watched from then on. Others are
 * neither read nor watched. While the API server is down, known imports are served.
 */
export function createKubeImports(deps: {
  client: KubeClient
  log: Log
  clock: Clock
  /** From 0 to under 1. */
  random?: () => number
  /** Defaults to parseImport in this process. */
  validate?: ValidateImport
  /** Called for each manifest that arrives, with its faults. */
  onValidated?: (manifest: unknown, faults: readonly string[]) => void
  /** Called when an import is not followed any more. */
  onForgotten?: (namespace: string, name: string) => void
}): KubeImports {
  const { client, log, clock, random = Math.random, onValidated = () => {}, onForgotten = () => {} } = deps
  const { validate = async (manifest: unknown) => parseImport(manifest) } = deps
  const listeners: Listener[] = []
  const health = createApiServerHealth({ client, log, clock, random })
  const reads = createFairQueue(READS_AT_ONCE)
  const watchSlots = createWatchSlots(WATCHES)
  const names = createImportNames({ client, clock, reads })
  const followed = new Map<string, Followed>()
  /** Keys of unused imports, longest unused first. */
  const lingering = new Set<string>()
  const closing = new Set<Promise<void>>()
  const stop = new AbortController()

  function follow(ref: ImportRef): Followed {
    const { namespace, name } = ref
    const onChange = () => {
      for (const listener of listeners) listener(namespace, name)
    }
    const validated = createValidatedImport({ ref, log, validate, onChange, onValidated })
    const follower = followImport({ ref, validated, client, clock, random, health, reads, watchSlots })
    const entry: Followed = { ref, validated, follower, cancelEnd: undefined }
    followed.set(keyOf(ref), entry)
    // An import whose first read fails is not followed: the next request reads it again.
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
    const server = health.state()
    // It was deleted but may exist again, which is known only while the API server answers.
    if (server.state === 'down')
      throw unavailable(entry.ref, `"${name}" is not among those known, and ${server.reason}`)
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
    synced: () => health.hasAnswered(),
    async start(signal) {
      health.start()
      const waited = new AbortController()
      const limit = clock.sleep(START_MS, AbortSignal.any([signal, waited.signal]))
      await Promise.race([health.waitUntilUp(AbortSignal.any([signal, stop.signal])), limit]).finally(() => {
        limit.catch(() => {})
        waited.abort()
      })
      if (!health.hasAnswered())
        log.warn({ server: client.server }, 'started without imports, retrying the API server')
    },
    async close() {
      stop.abort()
      for (const entry of followed.values()) end(entry)
      await health.close()
      await Promise.all(closing)
    },
  }
}

/** Neither part can hold a slash. */
function keyOf({ namespace, name }: ImportRef): string {
  return `${namespace}/${name}`
}
