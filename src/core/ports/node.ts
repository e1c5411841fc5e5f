import type { Pod, ServiceAccountToken } from './pod.ts'
import type { VolumeStats } from './volume.ts'

/** The NodePublishVolume request, parsed. */
export type PublishRequest = {
  volumeId: string
  targetPath: string
  readOnly: boolean
  /** gid from volume_mount_group: the pod's fsGroup. */
  fsGroup: number | undefined
  pod: Pod
  importName: string
  /** By audience. */
  tokens: ReadonlyMap<string, ServiceAccountToken>
  /** Of all fields that must be the same in a repeated publish, which leaves out tokens. */
  fingerprint: string
}

/** For the gRPC layer: one function per RPC that does something. All reject with FaultError only. */
export type NodeService = {
  publish(request: PublishRequest, signal: AbortSignal): Promise<void>
  unpublish(request: { volumeId: string; targetPath: string }, signal: AbortSignal): Promise<void>
  /** @throws FaultError volume_not_found for an unknown volume or path */
  stats(request: { volumeId: string; volumePath: string }): VolumeStats
}
