import { FaultError } from '../core/faults/fault.ts'
import type { Config } from '../core/settings/config.ts'

/** The volume that the bytes are reserved for. */
export type Owner = { targetPath: string; pod: { namespace: string } }

/**
 * How much the volumes of this node may hold: the pages of a tmpfs are charged to this process' container, hence the size
 * that each volume is allowed counts, and not its present content.
 */
export type Budget = {
  /**
   * From now on the volume may hold so many bytes.
   * @throws FaultError budget_exceeded, for the namespace first; the volume keeps its former share then
   */
  reserve(owner: Owner, bytes: number): void
  /** The same for a volume that is mounted with this size already: counted whatever the limits are. */
  count(owner: Owner, bytes: number): void
  /** Idempotent. */
  release(targetPath: string): void
  /** That all volumes of the node may hold together. */
  reservedBytes(): number
  readonly limitBytes: number
}

export function createBudget({
  maxNodeBytes,
  maxNamespaceBytes,
}: Pick<Config, 'maxNodeBytes' | 'maxNamespaceBytes'>): Budget {
  const byTarget = new Map<string, { namespace: string; bytes: number }>()
  const byNamespace = new Map<string, number>()
  let total = 0

  function add(namespace: string, bytes: number): void {
    total += bytes
    const sum = (byNamespace.get(namespace) ?? 0) + bytes
    if (sum > 0) byNamespace.set(namespace, sum)
    else byNamespace.delete(namespace)
  }

  function release(targetPath: string): void {
    const reserved = byTarget.get(targetPath)
    if (reserved === undefined) return
    byTarget.delete(targetPath)
    add(reserved.namespace, -reserved.bytes)
  }

  function count({ targetPath, pod: { namespace } }: Owner, bytes: number): void {
    release(targetPath)
    byTarget.set(targetPath, { namespace, bytes })
    add(namespace, bytes)
  }

  return {
    count,
    release,
    reserve(owner, bytes) {
      const { namespace } = owner.pod
      const more = bytes - (byTarget.get(owner.targetPath)?.bytes ?? 0)
      // A volume may always shrink, also where the cluster admin has lowered the limits.
      if (more > 0) {
        const ofNamespace = (byNamespace.get(namespace) ?? 0) + more
        check(ofNamespace, maxNamespaceBytes, `namespace "${namespace}"`, '--max-namespace-bytes')
        check(total + more, maxNodeBytes, 'this node', '--max-node-bytes')
      }
      count(owner, bytes)
    },
    reservedBytes: () => total,
    limitBytes: maxNodeBytes,
  }
}

function check(sizeBytes: number, limitBytes: number, reason: string, setting: string): void {
  if (sizeBytes > limitBytes)
    throw new FaultError('budget_exceeded', { sizeBytes, limitBytes, reason, setting })
}
