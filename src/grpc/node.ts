import { ignoreErrors } from '../core/errno.ts'
import type { FaultError } from '../core/faults/fault.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import type { NodeService, PublishRequest } from '../core/ports/node.ts'
import type { VolumeStats } from '../core/ports/volume.ts'
import {
  parsePublishRequest,
  podOf,
  type RawPublishRequest,
  requireTargetPath,
  requireText,
} from '../core/publish-request/publish-request.ts'
import { loadService } from './proto.ts'
import type { Service } from './server.ts'
import { type Subject, unary } from './unary.ts'

export type NodeOptions = {
  nodeId: string
  node: NodeService
  log: Log
  clock: Clock
}

type RawVolumeRequest = { volume_id?: string; target_path?: string; volume_path?: string }

/**
 * kubelet asks for these before every publish. VOLUME_MOUNT_GROUP makes it pass us the fsGroup, which it does not apply
 * to read-only volumes itself.
 */
const CAPABILITIES = ['VOLUME_MOUNT_GROUP', 'GET_VOLUME_STATS'].map((type) => ({ rpc: { type } }))

/** csi.v1.Node: parses requests and passes them to the node. Staging and expansion are UNIMPLEMENTED. */
export function nodeService({ nodeId, node, log, clock }: NodeOptions): Service {
  const base = { log, clock }

  /** @throws FaultError the fault, unless the volume is published and can keep the tokens of an earlier publish */
  function keepTokens({ volumeId, targetPath, pod }: PublishRequest, fault: FaultError): void {
    // kubelet repeats the publish of a running pod, and old kubelets delete the mount on a final error.
    if (!isPublished(node, volumeId, targetPath)) throw fault
    log.warn({ volumeId, pod, error: fault }, 'kubelet sent unusable tokens, keeping the earlier ones')
  }

  return {
    definition: loadService('csi.proto', 'csi.v1.Node'),
    implementation: {
      NodePublishVolume: unary(
        async (raw: RawPublishRequest, signal) => {
          const { request, tokenFault } = parsePublishRequest(raw)
          if (tokenFault !== undefined) keepTokens(request, tokenFault)
          else await node.publish(request, signal)
          return {}
        },
        { ...base, doing: 'publishing the volume', subject: publishSubject },
      ),
      NodeUnpublishVolume: unary(
        async (raw: RawVolumeRequest, signal) => {
          const volumeId = requireText(raw.volume_id, 'volume_id')
          await node.unpublish({ volumeId, targetPath: requireTargetPath(raw.target_path) }, signal)
          return {}
        },
        { ...base, doing: 'unpublishing the volume', subject: volumeSubject },
      ),
      NodeGetVolumeStats: unary(
        (raw: RawVolumeRequest) => {
          const volumeId = requireText(raw.volume_id, 'volume_id')
          const volumePath = requireText(raw.volume_path, 'volume_path')
          return { usage: usageOf(node.stats({ volumeId, volumePath })) }
        },
        { ...base, doing: 'measuring the volume', subject: volumeSubject },
      ),
      NodeGetCapabilities: unary(() => ({ capabilities: CAPABILITIES }), {
        ...base,
        doing: 'telling the node capabilities',
      }),
      NodeGetInfo: unary(() => ({ node_id: nodeId }), { ...base, doing: 'telling the node info' }),
    },
  }
}

function isPublished(node: NodeService, volumeId: string, targetPath: string): boolean {
  return ignoreErrors(() => node.stats({ volumeId, volumePath: targetPath })) !== undefined
}

function publishSubject(raw: RawPublishRequest): Subject {
  return { ...volumeSubject(raw), pod: podOf(raw.volume_context ?? {}) }
}

function volumeSubject(raw: RawVolumeRequest): Subject {
  return { volumeId: raw.volume_id ?? '' }
}

function usageOf({ bytes, inodes }: VolumeStats): object[] {
  return [
    { unit: 'BYTES', ...bytes },
    { unit: 'INODES', ...inodes },
  ]
}
