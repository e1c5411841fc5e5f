import { createCollapse } from '../core/collapse.ts'
import type { FairQueue } from '../core/fair-queue.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { KubeClient } from './client.ts'
import { listNames } from './import-calls.ts'

/** Names are for a message: a short cache serves a thousand pods that kubelet retries. */
const CACHE_MS = 10_000
const MOST_NAMESPACES = 50

/** Names of a namespace's imports, for the message that one does not exist. */
export type ImportNames = {
  /** Sorted; empty when they cannot be read. @throws the signal's reason, and nothing else */
  of(namespace: string, signal: AbortSignal): Promise<readonly string[]>
}

export function createImportNames(deps: {
  client: KubeClient
  clock: Pick<Clock, 'monotonic'>
  reads: FairQueue
}): ImportNames {
  const { client, clock, reads } = deps
  /** Oldest first. */
  const cached = new Map<string, { names: readonly string[]; until: number }>()
  const collapse = createCollapse<readonly string[]>()

  async function ask(namespace: string, signal: AbortSignal): Promise<readonly string[]> {
    const names = await reads
      .run(namespace, () => listNames(client, namespace, signal), signal)
      .catch(() => [])
    const sorted = names.sort()
    cached.set(namespace, { names: sorted, until: clock.monotonic() + CACHE_MS })
    return sorted
  }

  function dropOld(): void {
    const now = clock.monotonic()
    for (const [namespace, { until }] of cached)
      if (until <= now || cached.size > MOST_NAMESPACES) cached.delete(namespace)
  }

  return {
    async of(namespace, signal) {
      dropOld()
      const known = cached.get(namespace)
      if (known !== undefined) return known.names
      return collapse.share(namespace, (shared) => ask(namespace, shared), signal)
    },
  }
}
