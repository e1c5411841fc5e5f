import { FaultError } from '../faults/fault.ts'
import type { PublishRequest } from '../ports/node.ts'
import type { Pod } from '../ports/pod.ts'
import { parseServiceAccountTokens, TOKENS_KEY } from './service-account-tokens.ts'

/** NodePublishVolumeRequest as decoded from gRPC; fields that the sender left out are missing, null or empty. */
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

/** The only attribute that users set. */
const IMPORT_KEY = 'secretsStoreImport'
/** Attributes with this prefix are set by kubelet, which overrides a user's attribute of the same name. */
const KUBELET_PREFIX = 'csi.storage.k8s.io/'

/** A DNS-1123 subdomain, as the API server requires of object names: labels of at most 63 characters, 253 in total. */
const SUBDOMAIN = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$/
/** chown takes 2^32 - 1 as "do not change", so it cannot be a group. */
const MAX_GID = 2 ** 32 - 2

/**
 * Parses kubelet's request. As the CSI specification demands, checks the volume ID first, then the target path, then the
 * capability; then reports all faults of the attributes in one message.
 * @returns `tokenFault` is set when only the tokens are invalid: a running pod can do without them
 * @throws FaultError invalid_request. Neither it nor `tokenFault` quotes tokens or secrets.
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
  // From Kubernetes 1.35 on the tokens may be in secrets, which a user's attribute must not override.
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

/** @throws FaultError invalid_request unless the path is absolute, below / and without "." and ".." segments */
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

/** The pod, as far as kubelet describes it; '' for missing fields. */
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
 * Stable text of everything that must not change between publishes. It covers only the fields that we use: otherwise a
 * newer kubelet that adds a key to the context would find every volume published with different arguments. The ledger
 * stores it, so its format must not change either.
 */
function fingerprint(used: {
  volumeId: string
  readOnly: boolean
  capability: Capability
  pod: Pod
  importName: string
}): string {
  const { volumeId, readOnly, capability, pod, importName } = used
  const { fsGroup: _parsed, ...requested } = capability
  const { name, namespace, uid, serviceAccount } = pod
  return JSON.stringify([volumeId, readOnly, requested, namespace, name, uid, serviceAccount, importName])
}

function invalid(reason: string): FaultError {
  return new FaultError('invalid_request', { reason })
}
