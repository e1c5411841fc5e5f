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
   * Takes the startup taint off this node: pods that need volumes may come now. Tries for some minutes, for the API
   * server may be away, and gives up with an error in the log. Never throws but the signal's reason.
   */
  remove(signal: AbortSignal): Promise<void>
}

/** @param deps.key of the taint that an autoscaler or installer puts on new nodes; whatever its value and effect */
export function createTaintRemover(deps: {
  client: KubeClient
  clock: Clock
  log: Log
  nodeId: string
  key: string
}): TaintRemover {
  const { client, clock, log, nodeId, key } = deps
  const path = `/api/v1/nodes/${encodeURIComponent(nodeId)}`

  /** @returns undefined when the taint is not there any more, else why it still is */
  async function tryOnce(signal: AbortSignal): Promise<string | undefined> {
    const node = await client.call({ method: 'GET', path }, signal)
    if (node.status !== 200) return `reading the node: ${describeAnswer(node)}`
    const taints = fieldOf(fieldOf(node.body, 'spec'), 'taints')
    const others = Array.isArray(taints) ? taints.filter((taint) => fieldOf(taint, 'key') !== key) : []
    if (!Array.isArray(taints) || others.length === taints.length) return undefined
    // The version makes the API server refuse the list when somebody changed it meanwhile.
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
        if (tries === 0) log.warn({ nodeId, taint: key, reason }, 'startup taint not removed yet, trying on')
      }
      log.error(
        { nodeId, taint: key, reason },
        'startup taint not removed: the plugin may get and patch nodes?',
      )
    },
  }
}
