import { FaultError } from '../core/faults/fault.ts'
import type { SyncedSecret } from '../core/ports/kubernetes.ts'
import type { Pod } from '../core/ports/pod.ts'
import type { SecretContent } from './secret-content.ts'
import { type FoundSecret, type Holder, MANAGER, type Writer } from './secret-object.ts'

/** A mark further ahead of our clock than clocks differ says nothing, or one wrong clock would stop all nodes. */
const CLOCKS_DIFFER_MS = 5 * 60_000

export type Decision =
  /** It is as it should be, or newer than what this node knows. */
  | { kind: 'nothing' }
  | { kind: 'create' }
  | {
      kind: 'change'
      /** False: the owners alone. */
      isContent: boolean
      added: readonly Pod[]
      /** UIDs. */
      dropped: readonly string[]
    }
  /** Whether this pod is gone decides: ask, and decide again. */
  | { kind: 'ask'; holder: Holder }

/** All that is known when it is decided. */
export type Situation = {
  found: FoundSecret | undefined
  wanted: SyncedSecret
  content: SecretContent
  /** Pods of this node that want the same Secret now. */
  pods: readonly Pod[]
  writer: Writer
  /** Milliseconds since the Unix epoch. */
  now: number
  /** undefined: not asked. */
  isHolderGone: boolean | undefined
}

/**
 * What is to be done that the Secret holds what it must. Every node of the cluster decides for itself by the same
 * rules, which must not lead two of them to write against each other.
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

/** @returns the holder, when it must be known whether that is gone */
function mayWrite(situation: Situation, found: FoundSecret): boolean | Holder {
  const { wanted, isHolderGone } = situation
  const { holder } = found
  // What was issued to a pod differs from what others were issued for ever: one of them is kept, for as long as it lives.
  if (!wanted.isPerVolume || holder?.uid === wanted.pod.uid) return isLater(situation, found)
  if (holder === undefined) return true
  if (wanted.deletionPolicy === 'Delete') return !found.owners.has(holder.uid)
  return isHolderGone ?? holder
}

/** Of two nodes that saw different content the later one is right. */
function isLater({ wanted, writer, now }: Situation, { fetchedAt, node }: FoundSecret): boolean {
  if (fetchedAt === undefined || fetchedAt > now + CLOCKS_DIFFER_MS) return true
  // Seen at the same time by the same node is the same: what differs was changed by somebody's hand.
  return wanted.fetchedAt > fetchedAt || (wanted.fetchedAt === fetchedAt && node === writer.nodeId)
}

function isSame({ data }: FoundSecret, content: SecretContent): boolean {
  const entries = Object.entries(content.data)
  return entries.length === data.size && entries.every(([key, value]) => data.get(key) === value)
}

/** What somebody else made is never taken over, even when it holds the same. */
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
