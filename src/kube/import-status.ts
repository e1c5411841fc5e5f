import { identifyImport } from '../core/import.ts'
import type { Clock, Log } from '../core/ports.ts'
import type { KubeClient } from './client.ts'
import { describeAnswer, describeError, fieldOf, isPassing } from './failure.ts'
import { type Condition, toStatus } from './import-condition.ts'

/** Every node has the same to say: whoever waits least says it, and the others hear of it. In milliseconds. */
const SPREAD_MS = 5_000
/** For each import that waits, so that a cluster full of them is told little by little. */
const SPREAD_EACH_MS = 100
/** After the API server was away. */
const RETRY_MS = 30_000

export type ImportStatus = {
  /** What the plugin makes of the manifest, as it came from the API server; no faults: it is accepted. Never throws. */
  judged(manifest: unknown, faults: readonly string[]): void
  close(): void
}

type Waiting = { namespace: string; name: string; edition: string; manifest: unknown; condition: Condition }

/**
 * The condition Accepted of imports, for `kubectl wait` and for whoever looks at the import and not at a pod.
 * Best effort, and each process says one thing about one generation once: two releases that judge an import
 * differently must not write against each other for ever.
 */
export function createImportStatus(deps: {
  client: KubeClient
  log: Log
  clock: Clock
  /** From 0 to under 1. */
  random?: () => number
}): ImportStatus {
  const { client, log, clock, random = Math.random } = deps
  const waiting = new Map<string, Waiting>()
  /** Edition of which was told last, by import. */
  const told = new Map<string, string>()
  const writing = new Set<string>()
  const closing = new AbortController()

  function judged(manifest: unknown, faults: readonly string[]): void {
    const identity = identifyImport(manifest)
    const metadata = fieldOf(manifest, 'metadata')
    const generation = fieldOf(metadata, 'generation')
    if (closing.signal.aborted || identity === undefined || typeof generation !== 'number') return
    const key = `${identity.namespace}/${identity.name}`
    // An import that was deleted and made anew begins at 1 again.
    const edition = `${fieldOf(metadata, 'uid')} ${generation}`
    const condition: Condition = { generation, faults }
    if (toStatus(manifest, condition, clock.now()) === undefined || told.get(key) === edition) {
      waiting.delete(key)
      return
    }
    const isNew = !waiting.has(key) && !writing.has(key)
    waiting.set(key, { ...identity, edition, manifest, condition })
    if (isNew) later(key, random() * Math.max(SPREAD_MS, waiting.size * SPREAD_EACH_MS))
  }

  function later(key: string, delayMs: number): void {
    clock.after(delayMs, () => void tell(key))
  }

  async function tell(key: string): Promise<void> {
    const found = waiting.get(key)
    const status = found && toStatus(found.manifest, found.condition, clock.now())
    if (found === undefined || status === undefined || closing.signal.aborted) return
    waiting.delete(key)
    writing.add(key)
    const outcome = await write(found, status)
    writing.delete(key)
    if (outcome === 'told') told.set(key, found.edition)
    // What came meanwhile waits without a timer.
    const next = waiting.get(key) ?? (outcome === 'again' ? found : undefined)
    if (next === undefined || told.get(key) === next.edition) waiting.delete(key)
    else {
      waiting.set(key, next)
      later(key, outcome === 'again' ? RETRY_MS * (1 + random()) : random() * SPREAD_MS)
    }
  }

  /** moved: another version of it is on its way to us. */
  async function write(found: Waiting, status: object): Promise<'told' | 'moved' | 'again'> {
    const { namespace, name, manifest } = found
    const folder = `/apis/deckhouse.io/v1alpha1/namespaces/${encodeURIComponent(namespace)}/secretsstoreimports`
    const resourceVersion = fieldOf(fieldOf(manifest, 'metadata'), 'resourceVersion')
    const path = `${folder}/${encodeURIComponent(name)}/status`
    const body = { metadata: { resourceVersion }, status }
    const contentType = 'application/merge-patch+json'
    try {
      const answer = await client.call({ method: 'PATCH', path, body, contentType }, closing.signal)
      if (answer.status === 200) return 'told'
      if (answer.status === 404 || answer.status === 409) return 'moved'
      if (isPassing(answer)) return 'again'
      giveUp(describeAnswer(answer))
    } catch (error) {
      if (!closing.signal.aborted)
        log.debug({ reason: describeError(error) }, 'import status not written yet')
    }
    return 'again'
  }

  /** Whoever does not let us will not let us a minute later. */
  function giveUp(reason: string): void {
    if (closing.signal.aborted) return
    log.warn(
      { server: client.server, reason },
      'conditions of imports are not written: rbac.importStatus=true in the Helm values (patch on secretsstoreimports/status) lets the plugin',
    )
    close()
  }

  function close(): void {
    closing.abort()
    waiting.clear()
    told.clear()
  }

  return { judged, close }
}
