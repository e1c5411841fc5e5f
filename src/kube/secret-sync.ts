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

/** A Secret that was in step is not looked at again for so long, in milliseconds, whatever volumes want it. */
const KEPT_MS = 60_000
/** Others write at the same time when nodes start together; each try that fails means that one of them succeeded. */
const TRIES = 8
const FIRST_WAIT_MS = 20

/** What this node saw of a Secret, without its content. */
type Memory = { digest: string; checkedAt: number; owners: ReadonlySet<string> }

/**
 * Kubernetes Secrets kept in step with files, by every node on which a pod wants them. Only the API knows what the
 * others do: a Secret is read, decided on (secret-decision.ts), and written under the version that was read.
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
  const memories = new Map<string, Memory>()
  /** Pods that wait for their turn at a Secret, by its key: the first in turn writes them all down as owners. */
  const waiting = new Map<string, Map<string, Pod>>()
  const turns = new Map<string, Promise<void>>()

  function isInStep(key: string, digest: string, { deletionPolicy, pod }: SyncedSecret): boolean {
    const memory = memories.get(key)
    if (memory === undefined || memory.digest !== digest) return false
    if (clock.monotonic() - memory.checkedAt >= KEPT_MS) return false
    return deletionPolicy === 'Retain' || memory.owners.has(pod.uid)
  }

  async function bringInStep(key: string, wanted: SyncedSecret, signal: AbortSignal): Promise<void> {
    const digest = digestOf(wanted, digestKey)
    if (isInStep(key, digest, wanted)) return
    memories.delete(key)
    const checkedAt = clock.monotonic()
    const owners = await write(key, wanted, signal)
    memories.set(key, { digest, checkedAt, owners })
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
        tell(wanted, 'Kubernetes Secret made')
        return all
      }
      if (found === undefined || decision.kind !== 'change') continue
      const { isContent, added, dropped } = decision
      const change = { content: isContent ? content : undefined, added, dropped }
      if (!(await calls.patch(patchOf(found, wanted, change, writer), signal))) continue
      if (isContent) tell(wanted, 'Kubernetes Secret changed')
      return all
    }
    const reason = `others changed it ${TRIES} times while it was looked at`
    throw new FaultError('sync_unavailable', { secret: `${wanted.namespace}/${wanted.name}`, reason })
  }

  function tell({ namespace, name, importName, pod }: SyncedSecret, message: string): void {
    log.info({ namespace, secret: name, importName, pod }, message)
  }

  /** One after the other for each Secret: volumes of this node that want the same share one look at it. */
  async function inTurn(key: string, task: () => Promise<void>, signal: AbortSignal): Promise<void> {
    const result = (turns.get(key) ?? Promise.resolve()).then(() => {
      signal.throwIfAborted()
      return task()
    })
    const turn = result.catch(() => undefined)
    turns.set(key, turn)
    void turn.then(() => {
      if (turns.get(key) === turn) turns.delete(key)
    })
    return waitFor(result, signal)
  }

  async function syncOne(wanted: SyncedSecret, signal: AbortSignal): Promise<void> {
    const { namespace, name, importName, deletionPolicy, pod, isPerVolume } = wanted
    // Of what was issued to pods each has its own content, and its own memory.
    const key = JSON.stringify([namespace, name, importName, deletionPolicy, isPerVolume ? pod.uid : ''])
    const pods = waiting.get(key) ?? new Map<string, Pod>()
    waiting.set(key, pods.set(pod.uid, pod))
    try {
      await inTurn(key, () => bringInStep(key, wanted, signal), signal)
    } finally {
      pods.delete(pod.uid)
      if (pods.size === 0 && waiting.get(key) === pods) waiting.delete(key)
    }
  }

  function forgetOld(): void {
    const before = clock.monotonic() - KEPT_MS
    for (const [key, { checkedAt }] of memories) if (checkedAt <= before) memories.delete(key)
  }

  return {
    async sync(secrets, signal) {
      forgetOld()
      const results = await Promise.allSettled(secrets.map((wanted) => syncOne(wanted, signal)))
      const [first, ...others] = results.flatMap((result) =>
        result.status === 'rejected' ? [result.reason as unknown] : [],
      )
      if (first === undefined) return
      signal.throwIfAborted()
      // The caller hears of one; the others must not be lost.
      for (const error of others) log.warn({ error }, 'another Secret of the import is not in step')
      throw first
    },
  }
}
