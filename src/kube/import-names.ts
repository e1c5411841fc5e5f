import { createCollapse } from '../core/collapse.ts'
import type { FairQueue } from '../core/fair-queue.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { KubeClient } from './client.ts'
import { listNames } from './import-calls.ts'

/** Names stand in a message: what was true a moment ago is good enough for a thousand pods that are tried again. */
const KEPT_MS = 10_000
const MOST_NAMESPACES = 50

/** Which imports a namespace has, for the message that one is not among them. */
export type ImportNames = {
  /** Sorted; none when they cannot be had. @throws the signal's reason alone */
  of(namespace: string, signal: AbortSignal): Promise<readonly string[]>
}

export function createImportNames(deps: {
  client: KubeClient
  clock: Pick<Clock, 'monotonic'>
  reads: FairQueue
}): ImportNames {
  const { client, clock, reads } = deps
  /** Oldest first. */
  const kept = new Map<string, { names: readonly string[]; until: number }>()
  const collapse = createCollapse<readonly string[]>()

  async function ask(namespace: string, signal: AbortSignal): Promise<readonly string[]> {
    const names = await reads
      .run(namespace, () => listNames(client, namespace, signal), signal)
      .catch(() => [])
    const sorted = names.sort()
    kept.set(namespace, { names: sorted, until: clock.monotonic() + KEPT_MS })
    return sorted
  }

  function dropOld(): void {
    const now = clock.monotonic()
    for (const [namespace, { until }] of kept)
      if (until <= now || kept.size > MOST_NAMESPACES) kept.delete(namespace)
  }

  return {
    async of(namespace, signal) {
      dropOld()
      const known = kept.get(namespace)
      if (known !== undefined) return known.names
      return collapse.share(namespace, (shared) => ask(namespace, shared), signal)
    },
  }
}
