import { randomBytes } from 'node:crypto'
import { waitFor } from '../core/collapse.ts'
import { FaultError } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { SecretSync, SyncedSecret } from '../core/ports/kubernetes.ts'
import type { Log } from '../core/ports/log.ts'
import type { Pod } from '../core/ports/pod.ts'
import type { KubeClient } from './client.ts'
import { createSecretCalls } from './secret-calls.ts'
import { contentOf, digestOf } from './secret-content.ts'
import { decide } from './secret-decision.ts'
import { newSecret, patchOf, type Writer } from './secret-object.ts'

/** A Secret in sync is not checked again for so long, in milliseconds, whichever volumes want it. */
const CHECKED_MS = 60_000
/** Nodes that start together write concurrently; each failed attempt means that one of them succeeded. */
const TRIES = 8
const FIRST_WAIT_MS = 20

/** The last check of a Secret, without its content. */
type Check = { digest: string; checkedAt: number; owners: ReadonlySet<string> }

/**
 * Syncs Kubernetes Secrets with files, from every node on which a pod wants them. Nodes meet only in the API: a Secret
 * is read, decided on (secret-decision.ts), and written under the version that was read.
 */
export function createKubeSecretSync(deps: {
  client: KubeClient
  clock: Pick<Clock, 'now' | 'monotonic' | 'sleep'>
  log: Log
  driverName: string
  nodeId: string
  /** From 0 to under 1. */
  random?: () => number
}): SecretSync {
  const { client, clock, log, driverName, nodeId, random = Math.random } = deps
  const writer: Writer = { driverName, nodeId }
  const digestKey = randomBytes(32)
  const checks = new Map<string, Check>()
  /** Pods that wait for a Secret, by its key: the first task writes them all as owners. */
  const waiting = new Map<string, Map<string, Pod>>()
  const queues = new Map<string, Promise<void>>()

  function isInSync(key: string, digest: string, { deletionPolicy, pod }: SyncedSecret): boolean {
    const check = checks.get(key)
    if (check === undefined || check.digest !== digest) return false
    if (clock.monotonic() - check.checkedAt >= CHECKED_MS) return false
    return deletionPolicy === 'Retain' || check.owners.has(pod.uid)
  }

  async function syncIfOutdated(key: string, wanted: SyncedSecret, signal: AbortSignal): Promise<void> {
    const digest = digestOf(wanted, digestKey)
    if (isInSync(key, digest, wanted)) return
    checks.delete(key)
    const checkedAt = clock.monotonic()
    const owners = await write(key, wanted, signal)
    checks.set(key, { digest, checkedAt, owners })
  }

  /** @returns UIDs of the pods that own the Secret now */
  async function write(key: string, wanted: SyncedSecret, signal: AbortSignal): Promise<Set<string>> {
    const content = contentOf(wanted)
    const calls = createSecretCalls(client, wanted, content, writer)
    for (let tries = 0; tries < TRIES; tries += 1) {
      if (tries > 1) await clock.sleep(FIRST_WAIT_MS * 2 ** tries * random(), signal)
      const found = await calls.find(signal)
      const pods = [...new Map(waiting.get(key)).set(wanted.pod.uid, wanted.pod).values()]
      const situation = { found, wanted, content, pods, writer, now: clock.now() }
      let decision = decide({ ...situation, isHolderGone: undefined })
      if (decision.kind === 'ask') {
        const isHolderGone = await calls.isGone(decision.holder, signal)
        decision = decide({ ...situation, isHolderGone })
      }
      const owners = wanted.deletionPolicy === 'Delete' ? pods : []
      const all = new Set([...(found?.owners ?? []), ...owners.map(({ uid }) => uid)])
      if (decision.kind === 'nothing') return all
      if (decision.kind === 'create') {
        if (!(await calls.create(newSecret(wanted, content, owners, writer), signal))) continue
        logWrite(wanted, 'Kubernetes Secret created')
        return all
      }
      if (found === undefined || decision.kind !== 'change') continue
      const { isContent, added, dropped } = decision
      const change = { content: isContent ? content : undefined, added, dropped }
      if (!(await calls.patch(patchOf(found, wanted, change, writer), signal))) continue
      if (isContent) logWrite(wanted, 'Kubernetes Secret changed')
      return all
    }
    const reason = `others changed it ${TRIES} times while it was looked at`
    throw new FaultError('sync_unavailable', { secret: `${wanted.namespace}/${wanted.name}`, reason })
  }

  function logWrite({ namespace, name, importName, pod }: SyncedSecret, message: string): void {
    log.info({ namespace, secret: name, importName, pod }, message)
  }

  /** Serialized by key: volumes of this node that want the same Secret share one check of it. */
  async function serialize(key: string, task: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const result = (queues.get(key) ?? Promise.resolve()).then(() => {
      signal.throwIfAborted()
      return task()
    })
    const last = result.catch(() => undefined)
    queues.set(key, last)
    void last.then(() => {
      if (queues.get(key) === last) queues.delete(key)
    })
    return waitFor(result, signal)
  }

  async function syncOne(wanted: SyncedSecret, signal: AbortSignal): Promise<void> {
    const { namespace, name, importName, deletionPolicy, pod, isPerVolume } = wanted
    // With per-volume leases each pod has its own content, and its own check.
    const key = JSON.stringify([namespace, name, importName, deletionPolicy, isPerVolume ? pod.uid : ''])
    const pods = waiting.get(key) ?? new Map<string, Pod>()
    waiting.set(key, pods.set(pod.uid, pod))
    try {
      await serialize(key, () => syncIfOutdated(key, wanted, signal), signal)
    } finally {
      pods.delete(pod.uid)
      if (pods.size === 0 && waiting.get(key) === pods) waiting.delete(key)
    }
  }

  function dropOld(): void {
    const before = clock.monotonic() - CHECKED_MS
    for (const [key, { checkedAt }] of checks) if (checkedAt <= before) checks.delete(key)
  }

  return {
    async sync(secrets, signal) {
      dropOld()
      const results = await Promise.allSettled(secrets.map((wanted) => syncOne(wanted, signal)))
      const [first, ...others] = results.flatMap((result) =>
        result.status === 'rejected' ? [result.reason as unknown] : [],
      )
      if (first === undefined) return
      signal.throwIfAborted()
      // The caller gets one error; the others must not be lost.
      for (const error of others) log.warn({ error }, 'another Secret of the import is not in sync')
      throw first
    },
  }
}
