import { FaultError } from '../core/errors.ts'
import type { Clock, ImportSource, Log } from '../core/ports.ts'
import type { KubeClient } from './client.ts'
import { describeError } from './failure.ts'
import { createImportCache } from './import-cache.ts'
import { listImports } from './list.ts'
import { watchImports } from './watch.ts'

/** How long start() waits for the first listing: pods that run already must not wait for an API server that is away. */
const START_MS = 10_000
/** A watch that lived for less without a word is a failure, or an ill server would be asked without end. */
const SHORT_WATCH_MS = 5_000
/** Between a watch that the server ended in good order and the next. */
const RENEW_MS = 200
const FIRST_RETRY_MS = 250
const LONGEST_RETRY_MS = 10_000
/** Watches that may fail to go on from the last version before everything is listed again. */
const RESUMES = 5

export type KubeImports = ImportSource & {
  /** The first listing is in: get() tells what is, not what is not known yet. */
  synced(): boolean
}

type Listener = (namespace: string, name: string) => void

/** following: what is held is what is. away: the API server has not been heard since; what is held stays in force. */
type Contact = { state: 'following' } | { state: 'away'; reason: string }

/**
 * SecretsStoreImports of the whole cluster, listed once and watched from then on.
 * Outlives restarts of the API server: what is known is served while it is away.
 */
export function createKubeImports(deps: {
  client: KubeClient
  log: Log
  clock: Clock
  /** From 0 to under 1. */
  random?: () => number
  /** Told of each manifest that comes, with its faults. */
  onJudged?: (manifest: unknown, faults: readonly string[]) => void
}): KubeImports {
  const { client, log, clock, random = Math.random, onJudged = () => {} } = deps
  const listeners: Listener[] = []
  const stop = new AbortController()
  const firstList = Promise.withResolvers<void>()
  const cache = createImportCache({
    log,
    onJudged,
    onChange: (namespace, name) => {
      for (const listener of listeners) listener(namespace, name)
    },
  })
  let contact: Contact = { state: 'away', reason: 'not listed yet' }
  /** In a row, without a sign of life between them: a watch that is taken and dropped at once is none. */
  let failures = 0
  let isSynced = false
  let version: string | undefined
  let following: Promise<void> | undefined

  async function follow(): Promise<void> {
    while (!stop.signal.aborted) {
      try {
        version ??= await list()
        await watch(version)
      } catch (error) {
        if (stop.signal.aborted) return
        lost(error)
      }
      await clock.sleep(delayMs(failures, random()), stop.signal).catch(() => {})
    }
  }

  async function list(): Promise<string> {
    const { manifests, resourceVersion } = await listImports(client, stop.signal)
    cache.replace(manifests)
    found()
    isSynced = true
    firstList.resolve()
    log.info({ imports: manifests.length }, 'imports listed')
    return resourceVersion
  }

  async function watch(from: string): Promise<void> {
    const openedAt = clock.now()
    let heard = 0
    for await (const event of watchImports(client, from, random, stop.signal)) {
      if (event.type === 'gone') {
        version = undefined
        if (heard === 0) throw new Error('410 Gone: the last known version is too old')
        return
      }
      found()
      if (event.type === 'open') continue
      heard += 1
      failures = 0
      version = event.resourceVersion
      if (event.type === 'put') cache.put(event.manifest)
      if (event.type === 'remove') cache.remove(event.manifest)
    }
    if (heard === 0 && clock.now() - openedAt < SHORT_WATCH_MS) throw new Error('the watch ended at once')
    failures = 0
  }

  function found(): void {
    if (contact.state === 'away') log.info({ server: client.server }, 'API server answers')
    contact = { state: 'following' }
  }

  function lost(error: unknown): void {
    const reason = describeError(error)
    const isNews = contact.state === 'following' || contact.reason !== reason
    contact = { state: 'away', reason }
    failures += 1
    if (failures % RESUMES === 0) version = undefined
    if (isNews)
      log.warn({ server: client.server, reason }, 'imports cannot be followed, known ones stay in force')
  }

  function unavailable(namespace: string, name: string, reason: string): FaultError {
    return new FaultError('imports_unavailable', {
      importName: name,
      podNamespace: namespace,
      address: client.server,
      reason,
    })
  }

  return {
    async get(namespace, name) {
      if (contact.state === 'away' && !isSynced) throw unavailable(namespace, name, contact.reason)
      try {
        return cache.get(namespace, name)
      } catch (error) {
        const isUnknown = error instanceof FaultError && error.fault === 'import_not_found'
        // It may well exist by now: only an API server that answers can say that it does not.
        if (isUnknown && contact.state === 'away') {
          throw unavailable(namespace, name, `"${name}" is not among those known, and ${contact.reason}`)
        }
        throw error
      }
    },
    forget: () => {},
    onChange: (listener) => {
      listeners.push(listener)
    },
    synced: () => isSynced,
    async start(signal) {
      following ??= follow()
      const waited = new AbortController()
      const limit = clock.sleep(START_MS, AbortSignal.any([signal, waited.signal]))
      await Promise.race([firstList.promise, limit]).finally(() => {
        limit.catch(() => {})
        waited.abort()
      })
      if (!isSynced)
        log.warn({ server: client.server }, 'started without imports, the API server is tried on')
    },
    async close() {
      stop.abort()
      await following
    },
  }
}

/** Spread, so that the nodes of a cluster do not come back all at once. */
function delayMs(failures: number, random: number): number {
  const longest = failures === 0 ? RENEW_MS : Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** failures)
  return longest * (0.5 + random / 2)
}
