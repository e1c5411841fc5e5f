import type { Clock } from '../core/ports/clock.ts'

/** Writes that may come at once, and how long until one more may. */
export type Rate = { burst: number; refillMs: number }

type Bucket = { tokens: number; at: number }

export type EventBudget = {
  /** Takes one write for the pod; false when it or the node has written too much lately. */
  take(podUid: string): boolean
}

/** A token bucket for each pod and one for the node: whatever goes on, events stay few. */
export function createEventBudget(
  clock: Pick<Clock, 'monotonic'>,
  rates: { pod: Rate; node: Rate },
): EventBudget {
  const pods = new Map<string, Bucket>()
  let node: Bucket = { tokens: rates.node.burst, at: clock.monotonic() }

  /** A full bucket says nothing: pods that went do not stay here. */
  function dropFull(): void {
    for (const [uid, bucket] of pods) {
      if (filled(bucket, rates.pod, clock.monotonic()).tokens >= rates.pod.burst) pods.delete(uid)
    }
  }

  return {
    take(podUid) {
      const now = clock.monotonic()
      if (pods.size > 1000) dropFull()
      node = filled(node, rates.node, now)
      const pod = filled(pods.get(podUid) ?? { tokens: rates.pod.burst, at: now }, rates.pod, now)
      if (node.tokens < 1 || pod.tokens < 1) return false
      node.tokens -= 1
      pods.set(podUid, { ...pod, tokens: pod.tokens - 1 })
      return true
    },
  }
}

function filled({ tokens, at }: Bucket, { burst, refillMs }: Rate, now: number): Bucket {
  return { tokens: Math.min(burst, tokens + (now - at) / refillMs), at: now }
}
