import { createFairQueue } from '../core/fair-queue.ts'
import { identifyImport } from '../core/imports/import.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import type { KubeClient } from './client.ts'
import { describeAnswer, describeError, fieldOf, isPassing } from './failure.ts'
import { importsPath } from './import-calls.ts'

/**
 * Every node that uses an import would write the same status: the one with the shortest delay writes it, and the
 * others see it in their watch. The cube root makes short delays rare, so that of a thousand nodes hardly two write.
 */
const SPREAD_MS = 8_000
/** After a write that failed for a transient reason. */
const RETRY_MS = 30_000
const WRITES_AT_ONCE = { total: 4, perNamespace: 2 }

/** Characters of a condition's message, which the CRD holds to 32,768. */
const LONGEST_MESSAGE = 4096

export type ImportStatus = {
  /** Takes a manifest from the API server with its faults; without faults it is accepted. Never throws. */
  report(manifest: unknown, faults: readonly string[]): void
  /** The import is not followed any more. */
  forget(namespace: string, name: string): void
  close(): void
}

type Pending = {
  namespace: string
  name: string
  edition: string
  resourceVersion: unknown
  /** The manifest's current status. */
  current: { status: unknown }
  condition: Condition
}

/** Of one import, while it is followed. */
type StatusRecord = {
  pending: Pending | undefined
  cancel: () => void
  isWriting: boolean
  /** The edition written last. */
  written: string | undefined
}

/**
 * The condition Accepted of the imports that this node uses, for `kubectl wait` and for readers of the import itself.
 * Best effort. Each process writes once for each generation: two releases that validate an import differently must not
 * overwrite each other for ever.
 */
export function createImportStatus(deps: {
  client: KubeClient
  log: Log
  clock: Clock
  /** From 0 to under 1. */
  random?: () => number
}): ImportStatus {
  const { client, log, clock, random = Math.random } = deps
  const records = new Map<string, StatusRecord>()
  const writes = createFairQueue(WRITES_AT_ONCE)
  const closing = new AbortController()

  function report(manifest: unknown, faults: readonly string[]): void {
    const identity = identifyImport(manifest)
    const metadata = fieldOf(manifest, 'metadata')
    const generation = fieldOf(metadata, 'generation')
    if (closing.signal.aborted || identity === undefined || typeof generation !== 'number') return
    const key = keyOf(identity.namespace, identity.name)
    // The generation of an import that was deleted and created again begins at 1.
    const edition = `${fieldOf(metadata, 'uid')} ${generation}`
    const condition: Condition = { generation, faults }
    const record = records.get(key) ?? newRecord()
    records.set(key, record)
    const current = { status: fieldOf(manifest, 'status') }
    if (toStatus(current, condition, clock.now()) === undefined || record.written === edition) {
      cancelWrite(record)
      return
    }
    const isNew = record.pending === undefined && !record.isWriting
    const resourceVersion = fieldOf(metadata, 'resourceVersion')
    record.pending = { ...identity, edition, resourceVersion, current, condition }
    if (isNew) schedule(record, SPREAD_MS * Math.cbrt(random()))
  }

  function schedule(record: StatusRecord, delayMs: number): void {
    record.cancel = clock.after(delayMs, () => void writePending(record))
  }

  async function writePending(record: StatusRecord): Promise<void> {
    const found = record.pending
    const status = found && toStatus(found.current, found.condition, clock.now())
    record.pending = undefined
    if (found === undefined || status === undefined || closing.signal.aborted) return
    record.isWriting = true
    const outcome = await write(found, status)
    record.isWriting = false
    if (records.get(keyOf(found.namespace, found.name)) !== record) return
    if (outcome === 'written') record.written = found.edition
    // A manifest that arrived meanwhile is pending without a timer.
    const next = record.pending ?? (outcome === 'again' ? found : undefined)
    record.pending = undefined
    if (next === undefined || record.written === next.edition) return
    record.pending = next
    schedule(record, outcome === 'again' ? RETRY_MS * (1 + random()) : SPREAD_MS * Math.cbrt(random()))
  }

  /** moved: the watch will bring another version. */
  async function write(found: Pending, status: object): Promise<'written' | 'moved' | 'again'> {
    const { namespace, name, resourceVersion } = found
    const path = `${importsPath(namespace)}/${encodeURIComponent(name)}/status`
    const body = { metadata: { resourceVersion }, status }
    const contentType = 'application/merge-patch+json'
    const { signal } = closing
    try {
      const call = { method: 'PATCH', path, body, contentType } as const
      const answer = await writes.run(namespace, () => client.call(call, signal), signal)
      if (answer.status === 200) return 'written'
      if (answer.status === 404 || answer.status === 409) return 'moved'
      if (isPassing(answer)) return 'again'
      giveUp(describeAnswer(answer))
    } catch (error) {
      if (!closing.signal.aborted)
        log.debug({ reason: describeError(error) }, 'import status not written yet')
    }
    return 'again'
  }

  /** A missing permission is not retried. */
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
    for (const record of records.values()) cancelWrite(record)
    records.clear()
  }

  return {
    report,
    forget(namespace, name) {
      const key = keyOf(namespace, name)
      const record = records.get(key)
      if (record !== undefined) cancelWrite(record)
      records.delete(key)
    },
    close,
  }
}

function newRecord(): StatusRecord {
  return { pending: undefined, cancel: () => {}, isWriting: false, written: undefined }
}

/** Cancels the pending write. */
function cancelWrite(record: StatusRecord): void {
  record.cancel()
  record.pending = undefined
}

/** Neither part can hold a slash. */
function keyOf(namespace: string, name: string): string {
  return `${namespace}/${name}`
}

/** The condition Accepted of one generation of an import; without faults it is True. */
type Condition = { generation: number; faults: readonly string[] }

/**
 * The import's status with that condition; undefined when it has it already.
 * @param manifest the import with its current status
 * @param now milliseconds since the Unix epoch
 */
function toStatus(manifest: unknown, condition: Condition, now: number): object | undefined {
  const { generation, faults } = condition
  const status = fieldOf(manifest, 'status')
  const list = fieldOf(status, 'conditions')
  const all: unknown[] = Array.isArray(list) ? list : []
  const isOurs = (one: unknown) => fieldOf(one, 'type') === 'Accepted'
  const before = all.find(isOurs)
  const accepted = {
    type: 'Accepted',
    status: faults.length === 0 ? 'True' : 'False',
    observedGeneration: generation,
    reason: faults.length === 0 ? 'Valid' : 'Invalid',
    message: messageOf(faults),
  }
  const isSame = Object.entries(accepted).every(([name, value]) => fieldOf(before, name) === value)
  if (isSame && fieldOf(status, 'observedGeneration') === generation) return undefined
  const isTransition = fieldOf(before, 'status') !== accepted.status
  const since = fieldOf(before, 'lastTransitionTime')
  // Without fractions, as Kubernetes writes times.
  const lastTransitionTime = isTransition ? new Date(now).toISOString().replace(/\.\d+Z$/, 'Z') : since
  // A merge patch replaces the list as a whole: conditions of others must stay in it.
  const conditions = [...all.filter((one) => !isOurs(one)), { ...accepted, lastTransitionTime }]
  return { observedGeneration: generation, conditions }
}

function messageOf(faults: readonly string[]): string {
  const text = faults.join('; ')
  if (text === '') return 'every field is valid'
  return text.length > LONGEST_MESSAGE ? `${text.slice(0, LONGEST_MESSAGE)}…` : text
}
