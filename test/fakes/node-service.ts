import { FaultError } from '../../src/core/faults/fault.ts'
import type { NodeService, PublishRequest } from '../../src/core/ports/node.ts'
import type { VolumeStats } from '../../src/core/ports/volume.ts'

type Behaviour = (request: PublishRequest, signal: AbortSignal) => Promise<void>

/** Remembers what it was asked and mounts nothing. `onPublish` lets a test make it slow or fail. */
export class FakeNodeService implements NodeService {
  readonly published: PublishRequest[] = []
  readonly unpublished: { volumeId: string; targetPath: string }[] = []
  readonly mounted = new Map<string, string>()
  onPublish: Behaviour = async () => {}

  async publish(request: PublishRequest, signal: AbortSignal): Promise<void> {
    this.published.push(request)
    await this.onPublish(request, signal)
    this.mounted.set(request.targetPath, request.volumeId)
  }

  async unpublish(request: { volumeId: string; targetPath: string }): Promise<void> {
    this.unpublished.push(request)
    this.mounted.delete(request.targetPath)
  }

  stats({ volumeId, volumePath }: { volumeId: string; volumePath: string }): VolumeStats {
    if (this.mounted.get(volumePath) !== volumeId) throw new FaultError('volume_not_found')
    return {
      bytes: { total: 2 ** 42, used: 4096, available: 2 ** 42 - 4096 },
      inodes: { total: 64, used: 4, available: 60 },
    }
  }
}
