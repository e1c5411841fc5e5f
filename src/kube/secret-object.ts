import type { SyncedSecret } from '../core/ports/kubernetes.ts'
import type { Pod } from '../core/ports/pod.ts'
import { fieldOf } from './failure.ts'
import type { SecretContent } from './secret-content.ts'

/** Value of the label app.kubernetes.io/managed-by, whatever the driver's name. */
export const MANAGER = 'vault-files-csi'
const MANAGED_BY = 'app.kubernetes.io/managed-by'

/** The pod whose leases the content belongs to. */
export type Holder = { name: string; uid: string }

/** A Secret as the API server has it, with our annotations parsed. */
export type FoundSecret = {
  uid: string
  resourceVersion: string
  type: string
  isImmutable: boolean
  /** Base64, by key. */
  data: ReadonlyMap<string, string>
  managedBy: string | undefined
  importName: string | undefined
  /** When the content was fetched from Vault: milliseconds since the Unix epoch. */
  fetchedAt: number | undefined
  /** The node that wrote the content. */
  node: string | undefined
  holder: Holder | undefined
  /** UIDs of the pods that own it. */
  owners: ReadonlySet<string>
}

/** The names of our annotations begin with the driver's, so that two drivers do not use each other's. */
export type Writer = { driverName: string; nodeId: string }

export function annotationsOf({ driverName }: Pick<Writer, 'driverName'>) {
  return {
    importName: `${driverName}/import`,
    fetchedAt: `${driverName}/seen-at`,
    node: `${driverName}/node`,
    holder: `${driverName}/holder`,
  }
}

export function readSecret(body: unknown, writer: Writer): FoundSecret {
  const metadata = fieldOf(body, 'metadata')
  const names = annotationsOf(writer)
  const annotation = (name: string) => textOf(fieldOf(metadata, 'annotations'), name)
  const fetchedAt = Date.parse(annotation(names.fetchedAt) ?? '')
  const [holderName, holderUid] = annotation(names.holder)?.split('/') ?? []
  return {
    uid: textOf(metadata, 'uid') ?? '',
    resourceVersion: textOf(metadata, 'resourceVersion') ?? '',
    type: textOf(body, 'type') ?? 'Opaque',
    isImmutable: fieldOf(body, 'immutable') === true,
    data: textsOf(fieldOf(body, 'data')),
    managedBy: textOf(fieldOf(metadata, 'labels'), MANAGED_BY),
    importName: annotation(names.importName),
    fetchedAt: Number.isNaN(fetchedAt) ? undefined : fetchedAt,
    node: annotation(names.node),
    holder: holderName && holderUid ? { name: holderName, uid: holderUid } : undefined,
    owners: podsAmong(fieldOf(metadata, 'ownerReferences')),
  }
}

/** The manifest of a new Secret. @param owners pods with which it is garbage-collected */
export function newSecret(
  wanted: SyncedSecret,
  { data }: SecretContent,
  owners: readonly Pod[],
  writer: Writer,
): object {
  const { importName } = annotationsOf(writer)
  const annotations = Object.entries(contentAnnotations(wanted, writer)).filter(([, value]) => value !== null)
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name: wanted.name,
      labels: { [MANAGED_BY]: MANAGER },
      annotations: { [importName]: wanted.importName, ...Object.fromEntries(annotations) },
      ...(owners.length > 0 ? { ownerReferences: owners.map(ownerOf) } : {}),
    },
    type: wanted.type,
    data,
  }
}

/**
 * Strategic merge patch: owner references are merged by UID, so that nodes can add theirs concurrently.
 * @param change.content undefined leaves the content as it is
 */
export function patchOf(
  found: FoundSecret,
  wanted: SyncedSecret,
  change: { content: SecretContent | undefined; added: readonly Pod[]; dropped: readonly string[] },
  writer: Writer,
): object {
  const { content, added, dropped } = change
  const ownerReferences = [...added.map(ownerOf), ...dropped.map((uid) => ({ $patch: 'delete', uid }))]
  const owners = ownerReferences.length > 0 ? { ownerReferences } : {}
  // The UID makes the API server refuse when the Secret was replaced meanwhile.
  if (content === undefined) return { metadata: { uid: found.uid, ...owners } }
  const gone = [...found.data.keys()]
    .filter((key) => !Object.hasOwn(content.data, key))
    .map((key) => [key, null])
  return {
    metadata: {
      uid: found.uid,
      // The decision is about this version's content, not a later one's.
      resourceVersion: found.resourceVersion,
      annotations: contentAnnotations(wanted, writer),
      ...owners,
    },
    data: { ...content.data, ...Object.fromEntries(gone) },
  }
}

/** In a patch null removes an annotation. */
function contentAnnotations(wanted: SyncedSecret, writer: Writer): Record<string, string | null> {
  const { fetchedAt, node, holder } = annotationsOf(writer)
  const { isPerVolume, pod } = wanted
  return {
    [fetchedAt]: new Date(wanted.fetchedAt).toISOString(),
    [node]: writer.nodeId,
    [holder]: isPerVolume ? `${pod.name}/${pod.uid}` : null,
  }
}

function ownerOf({ name, uid }: Pod): object {
  return { apiVersion: 'v1', kind: 'Pod', name, uid }
}

function podsAmong(owners: unknown): Set<string> {
  const pods = (Array.isArray(owners) ? owners : []).filter((owner) => fieldOf(owner, 'kind') === 'Pod')
  return new Set(pods.map((pod) => textOf(pod, 'uid') ?? ''))
}

function textsOf(object: unknown): Map<string, string> {
  const entries = typeof object === 'object' && object !== null ? Object.entries(object) : []
  return new Map(entries.map(([key, value]) => [key, String(value)]))
}

function textOf(object: unknown, name: string): string | undefined {
  const value = fieldOf(object, name)
  return typeof value === 'string' ? value : undefined
}
