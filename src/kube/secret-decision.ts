import { FaultError } from '../core/faults/fault.ts'
import type { SyncedSecret } from '../core/ports/kubernetes.ts'
import type { Pod } from '../core/ports/pod.ts'
import type { SecretContent } from './secret-content.ts'
import { type FoundSecret, type Holder, MANAGER, type Writer } from './secret-object.ts'

/** A timestamp further in the future is ignored, or one wrong clock would stop all nodes. */
const CLOCKS_DIFFER_MS = 5 * 60_000

export type Decision =
  /** It is in sync, or newer than this node's data. */
  | { kind: 'nothing' }
  | { kind: 'create' }
  | {
      kind: 'change'
      /** False: only the owners change. */
      isContent: boolean
      added: readonly Pod[]
      /** UIDs. */
      dropped: readonly string[]
    }
  /** It depends on whether this pod is gone: find out and decide again. */
  | { kind: 'ask'; holder: Holder }

/** The input of a decision. */
export type Situation = {
  found: FoundSecret | undefined
  wanted: SyncedSecret
  content: SecretContent
  /** Pods of this node that want the same Secret now. */
  pods: readonly Pod[]
  writer: Writer
  /** Milliseconds since the Unix epoch. */
  now: number
  /** undefined: not known. */
  isHolderGone: boolean | undefined
}

/**
 * Decides how to sync the Secret. Every node of the cluster decides on its own by the same rules, which must not make
 * two of them overwrite each other.
 * @throws FaultError sync_refused
 */
export function decide(situation: Situation): Decision {
  const { found, wanted, content, pods } = situation
  if (found === undefined) return { kind: 'create' }
  refuseForeign(found, wanted, situation.writer)
  const isDelete = wanted.deletionPolicy === 'Delete'
  const added = isDelete ? pods.filter(({ uid }) => !found.owners.has(uid)) : []
  const dropped = isDelete ? [] : [...found.owners]
  const isContent = !isSame(found, content) && mayWrite(situation, found)
  if (typeof isContent === 'object') return { kind: 'ask', holder: isContent }
  if (isContent && found.isImmutable) {
    throw refused(
      wanted,
      'it is immutable, and its content has changed in Vault',
      'delete the Secret: it is made anew at the next look',
    )
  }
  if (!isContent && added.length === 0 && dropped.length === 0) return { kind: 'nothing' }
  return { kind: 'change', isContent, added, dropped }
}

/** @returns the holder, when the decision depends on whether it is gone */
function mayWrite(situation: Situation, found: FoundSecret): boolean | Holder {
  const { wanted, isHolderGone } = situation
  const { holder } = found
  // Per-volume leases differ between pods for ever: one pod's content stays for as long as the pod lives.
  if (!wanted.isPerVolume || holder?.uid === wanted.pod.uid) return isLater(situation, found)
  if (holder === undefined) return true
  if (wanted.deletionPolicy === 'Delete') return !found.owners.has(holder.uid)
  return isHolderGone ?? holder
}

/** Of two nodes with different content, the later fetch is right. */
function isLater({ wanted, writer, now }: Situation, { fetchedAt, node }: FoundSecret): boolean {
  if (fetchedAt === undefined || fetchedAt > now + CLOCKS_DIFFER_MS) return true
  // The same fetch of the same node has the same content: a difference was made by hand.
  return wanted.fetchedAt > fetchedAt || (wanted.fetchedAt === fetchedAt && node === writer.nodeId)
}

function isSame({ data }: FoundSecret, content: SecretContent): boolean {
  const entries = Object.entries(content.data)
  return entries.length === data.size && entries.every(([key, value]) => data.get(key) === value)
}

/** A Secret that another party created is never adopted, even with equal content. */
function refuseForeign(found: FoundSecret, wanted: SyncedSecret, { driverName }: Writer): void {
  if (found.managedBy !== MANAGER || found.importName === undefined) {
    const by = found.managedBy === undefined ? '' : ` (it is managed by "${found.managedBy}")`
    throw refused(wanted, `a Secret of that name exists that driver ${driverName} did not make${by}`)
  }
  if (found.importName !== wanted.importName) {
    throw refused(wanted, `it is kept for SecretsStoreImport "${found.importName}" already`)
  }
  if (found.type !== wanted.type) {
    throw refused(
      wanted,
      `it has type "${found.type}", not "${wanted.type}", and Kubernetes changes no Secret's type`,
      'delete the Secret: it is made anew at the next look; or correct spec.secretSync[].type',
    )
  }
}

function refused({ namespace, name }: SyncedSecret, reason: string, setting?: string): FaultError {
  const facts = { secret: `${namespace}/${name}`, reason }
  return new FaultError('sync_refused', setting === undefined ? facts : { ...facts, setting })
}
