import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import type { KubeClient } from './client.ts'
import { describeAnswer, describeError, fieldOf } from './failure.ts'

/** Between tries, in milliseconds: pods of the node wait for this. */
const RETRY_MS = 2_000
/** Five minutes of them. */
const TRIES = 150

export type TaintRemover = {
  /**
   * Removes the startup taint from this node, so that pods with volumes are scheduled. Retries for five minutes, then
   * logs an error. @throws the signal's reason, and nothing else
   */
  remove(signal: AbortSignal): Promise<void>
}

/** @param deps.key of the taint that an autoscaler or installer puts on new nodes, with any value and effect */
export function createTaintRemover(deps: {
  client: KubeClient
  clock: Clock
  log: Log
  nodeId: string
  key: string
}): TaintRemover {
  const { client, clock, log, nodeId, key } = deps
  const path = `/api/v1/nodes/${encodeURIComponent(nodeId)}`

  /** @returns undefined when the taint is gone, else why it is still there */
  async function tryOnce(signal: AbortSignal): Promise<string | undefined> {
    const node = await client.call({ method: 'GET', path }, signal)
    if (node.status !== 200) return `reading the node: ${describeAnswer(node)}`
    const taints = fieldOf(fieldOf(node.body, 'spec'), 'taints')
    const others = Array.isArray(taints) ? taints.filter((taint) => fieldOf(taint, 'key') !== key) : []
    if (!Array.isArray(taints) || others.length === taints.length) return undefined
    // The version makes the API server refuse the list when it was changed meanwhile.
    const resourceVersion = fieldOf(fieldOf(node.body, 'metadata'), 'resourceVersion')
    const body = { metadata: { resourceVersion }, spec: { taints: others } }
    const contentType = 'application/merge-patch+json'
    const answer = await client.call({ method: 'PATCH', path, body, contentType }, signal)
    if (answer.status !== 200) return `changing the node: ${describeAnswer(answer)}`
    log.info({ nodeId, taint: key }, 'startup taint removed')
    return undefined
  }

  return {
    async remove(signal) {
      let reason: string | undefined
      for (let tries = 0; tries < TRIES; tries += 1) {
        if (tries > 0) await clock.sleep(RETRY_MS, signal)
        reason = await tryOnce(signal).catch((error: unknown) => {
          signal.throwIfAborted()
          return describeError(error)
        })
        if (reason === undefined) return
        if (tries === 0) log.warn({ nodeId, taint: key, reason }, 'startup taint not removed yet, retrying')
      }
      log.error(
        { nodeId, taint: key, reason },
        'startup taint not removed: the plugin may get and patch nodes?',
      )
    },
  }
}
