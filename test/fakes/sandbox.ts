import type { FaultError } from '../../src/core/faults/fault.ts'
import type { Sandbox } from '../../src/core/ports/sandbox.ts'
import { renderFiles } from '../../src/core/render/render.ts'
import { createSizeLimit } from '../../src/core/render/size-limit.ts'

/** Renders on the spot, with the same code. */
export class FakeSandbox implements Pick<Sandbox, 'render'> {
  failWith: FaultError | undefined
  renders = 0

  render: Sandbox['render'] = async (spec, answers, volume, signal) => {
    signal.throwIfAborted()
    this.renders += 1
    if (this.failWith) throw this.failWith
    return renderFiles(spec, answers, volume.gid, { sizeLimit: createSizeLimit(volume) })
  }
}
