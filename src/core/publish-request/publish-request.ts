import { FaultError } from '../faults/fault.ts'
import type { PublishRequest } from '../ports/node.ts'
import type { Pod } from '../ports/pod.ts'
import { parseServiceAccountTokens, TOKENS_KEY } from './service-account-tokens.ts'

/** NodePublishVolumeRequest as it comes off the wire; what the sender left out is missing, null or empty. */
export type RawPublishRequest = {
  volume_id?: string
  target_path?: string
  volume_capability?: RawCapability | null
  readonly?: boolean
  secrets?: Readonly<Record<string, string>>
  volume_context?: Readonly<Record<string, string>>
}

type RawCapability = {
  block?: object | null
  mount?: { fs_type?: string; mount_flags?: readonly string[]; volume_mount_group?: string } | null
  access_mode?: { mode?: string | number } | null
}

type Attributes = Readonly<Record<string, string>>

/** The one attribute that users write. */
const IMPORT_KEY = 'secretsStoreImport'
/** Attributes of this prefix are kubelet's; it overrides a user's of the same name. */
const KUBELET_PREFIX = 'csi.storage.k8s.io/'

/** A DNS-1123 subdomain, which is what the API server lets an object be named: labels of 63, 253 in all. */
const SUBDOMAIN = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$/
/** 2^32 - 1 is chown's "leave it", hence no group. */
const MAX_GID = 2 ** 32 - 2

/**
 * Turns kubelet's request into ours. The specification wants the volume's id looked at first, then the target path,
 * then the capability; after that every fault of the attributes is reported in one message.
 * @returns with `tokenFault` when nothing but the tokens is wrong: a pod that runs already need not hear of it
 * @throws FaultError invalid_request, which quotes neither tokens nor secrets, as `tokenFault` neither does
 */
export function parsePublishRequest(raw: RawPublishRequest): {
  request: PublishRequest
  tokenFault: FaultError | undefined
} {
  const volumeId = requireText(raw.volume_id, 'volume_id')
  const targetPath = requireTargetPath(raw.target_path)
  const capability = requireMountCapability(raw.volume_capability)
  const attributes = raw.volume_context ?? {}

  const pod = podOf(attributes)
  const importName = attributes[IMPORT_KEY] ?? ''
  // Kubernetes 1.35 can move the tokens to secrets; what a user writes as an attribute must not win over that.
  const { tokens, faults } = parseServiceAccountTokens(raw.secrets?.[TOKENS_KEY] || attributes[TOKENS_KEY])
  const others = [
    ...unknownAttributes(attributes),
    ...importNameFaults(importName, pod.namespace),
    ...podFaults(attributes),
    ...ephemeralFaults(attributes),
  ]
  if (others.length > 0) throw invalid([...others, ...faults].join('; '))

  const readOnly = raw.readonly ?? false
  const request = {
    volumeId,
    targetPath,
    readOnly,
    fsGroup: capability.fsGroup,
    pod,
    importName,
    tokens,
    fingerprint: fingerprint({ volumeId, readOnly, capability, pod, importName }),
  }
  return { request, tokenFault: faults.length > 0 ? invalid(faults.join('; ')) : undefined }
}

/** @throws FaultError invalid_request when the field is missing or empty */
export function requireText(value: string | undefined, field: string): string {
  if (!value) throw invalid(`${field} is missing`)
  return value
}

/** @throws FaultError invalid_request unless the path is absolute, below / and without detours */
export function requireTargetPath(value: string | undefined): string {
  const path = requireText(value, 'target_path')
  const segments = path.split('/').slice(1)
  if (!path.startsWith('/')) throw invalid(`target_path "${path}" is not absolute`)
  if (path.includes('\0') || segments.some((segment) => segment === '..' || segment === '.')) {
    throw invalid('target_path must not hold "." or ".." segments or NUL')
  }
  if (segments.every((segment) => segment === '')) throw invalid('target_path must not be the root directory')
  return path
}

type Capability = {
  accessMode: string | number
  fsType: string
  mountFlags: readonly string[]
  mountGroup: string
  fsGroup: number | undefined
}

function requireMountCapability(raw: RawCapability | null | undefined): Capability {
  if (!raw) throw invalid('volume_capability is missing')
  const accessMode = raw.access_mode?.mode
  if (!accessMode || accessMode === 'UNKNOWN') throw invalid('volume_capability.access_mode is missing')
  if (raw.block) throw invalid('block volumes are not served: secrets are files, use a mount volume')
  if (!raw.mount) throw invalid('volume_capability has no access type: mount is missing')
  const mountGroup = raw.mount.volume_mount_group ?? ''
  return {
    accessMode,
    fsType: raw.mount.fs_type ?? '',
    mountFlags: raw.mount.mount_flags ?? [],
    mountGroup,
    fsGroup: parseGid(mountGroup),
  }
}

function parseGid(text: string): number | undefined {
  if (text === '') return undefined
  if (!/^\d{1,10}$/.test(text) || Number(text) > MAX_GID) {
    throw invalid(
      `volume_capability.mount.volume_mount_group "${text}" is not a group id (decimal, 0 to ${MAX_GID})`,
    )
  }
  return Number(text)
}

function unknownAttributes(attributes: Attributes): string[] {
  const unknown = Object.keys(attributes).filter(
    (key) => key !== IMPORT_KEY && !key.startsWith(KUBELET_PREFIX),
  )
  if (unknown.length === 0) return []
  const names = unknown.map((key) => `"${key}"`).join(', ')
  return [
    `unknown volumeAttributes ${names}: known is only ${IMPORT_KEY} (and kubelet's own ${KUBELET_PREFIX}*)`,
  ]
}

function importNameFaults(name: string, namespace: string): string[] {
  if (name === '') {
    return [`volumeAttributes.${IMPORT_KEY} is missing: name a SecretsStoreImport of the pod's namespace`]
  }
  if (name.includes('/')) {
    return [
      `volumeAttributes.${IMPORT_KEY} "${name}" names another namespace: an import is taken from the pod's own (${namespace || 'unknown'}) only, write its bare name`,
    ]
  }
  if (!SUBDOMAIN.test(name)) {
    return [
      `volumeAttributes.${IMPORT_KEY} "${name}" cannot be an object's name: lower-case letters, digits, "-" and "." only, letter or digit at both ends, at most 253`,
    ]
  }
  return []
}

const POD_KEYS = {
  name: `${KUBELET_PREFIX}pod.name`,
  namespace: `${KUBELET_PREFIX}pod.namespace`,
  uid: `${KUBELET_PREFIX}pod.uid`,
  serviceAccount: `${KUBELET_PREFIX}serviceAccount.name`,
} satisfies Record<keyof Pod, string>

/** Whatever of the pod is there; '' where it is not. */
export function podOf(attributes: Attributes): Pod {
  return {
    name: attributes[POD_KEYS.name] ?? '',
    namespace: attributes[POD_KEYS.namespace] ?? '',
    uid: attributes[POD_KEYS.uid] ?? '',
    serviceAccount: attributes[POD_KEYS.serviceAccount] ?? '',
  }
}

function podFaults(attributes: Attributes): string[] {
  const missing = Object.values(POD_KEYS).filter((key) => !attributes[key])
  if (missing.length === 0) return []
  return [
    `kubelet does not say which pod it is (no ${missing.join(', ')}): set podInfoOnMount: true on the CSIDriver`,
  ]
}

function ephemeralFaults(attributes: Attributes): string[] {
  const ephemeral = attributes[`${KUBELET_PREFIX}ephemeral`]
  if (ephemeral === undefined || ephemeral === 'true') return []
  return ["persistent volumes are not served: use an inline csi volume in the pod's spec.volumes"]
}

/**
 * Stable text of all that must not change between publishes: what we use and nothing more, or a newer kubelet that
 * adds a key to the context would find every volume of the node published with other arguments. It is kept in the
 * ledger, so that its form must not change either.
 */
function fingerprint(used: {
  volumeId: string
  readOnly: boolean
  capability: Capability
  pod: Pod
  importName: string
}): string {
  const { volumeId, readOnly, capability, pod, importName } = used
  const { fsGroup: _parsed, ...asked } = capability
  const { name, namespace, uid, serviceAccount } = pod
  return JSON.stringify([volumeId, readOnly, asked, namespace, name, uid, serviceAccount, importName])
}

function invalid(reason: string): FaultError {
  return new FaultError('invalid_request', { reason })
}
