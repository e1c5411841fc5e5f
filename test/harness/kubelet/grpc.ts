import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Clock } from '../../../src/core/ports/clock.ts'
import { identityService } from '../../../src/grpc/identity.ts'
import { nodeService } from '../../../src/grpc/node.ts'
import { startGrpcServer } from '../../../src/grpc/server.ts'
import { FakeLog } from '../../fakes/log.ts'
import { FakeNodeService } from '../../fakes/node-service.ts'
import { realClock } from '../real-clock.ts'
import { connectKubelet, KubeletError, type KubeletOptions, type PublishArgs } from './kubelet.ts'

/** A directory of the test's own whose path is short enough for a socket in it. */
export function socketDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'vfc-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** The CSI server over a real socket with a node that mounts nothing, and a kubelet to call it. */
export async function servePlugin(
  t: Test,
  options: { clock?: Clock; kubelet?: KubeletOptions; ready?: () => boolean } = {},
) {
  const endpoint = `unix://${join(socketDirectory(t), 'csi.sock')}`
  const log = new FakeLog()
  const node = new FakeNodeService()
  const base = { log, clock: options.clock ?? realClock }
  const server = await startGrpcServer({
    log,
    clock: realClock,
    endpoint,
    services: [
      identityService({
        ...base,
        driverName: 'secrets.example.org',
        version: '1.2.3',
        ready: options.ready ?? (() => true),
      }),
      nodeService({ ...base, nodeId: 'node-7', node }),
    ],
  })
  const kubelet = connectKubelet(endpoint, options.kubelet)
  t.teardown(async () => {
    kubelet.close()
    await server.close(0)
  })
  return { endpoint, log, node, server, kubelet }
}

export const publishArgs: PublishArgs = {
  volumeId: 'csi-1',
  targetPath: '/pods/1/volumes/secrets/mount',
  pod: { name: 'web-0', namespace: 'shop', uid: '5d1f0c9e', serviceAccount: 'web' },
  importName: 'backend',
}

/** What the call failed with; a call that did not fail fails the test. */
export async function failureOf(call: Promise<unknown>): Promise<KubeletError> {
  const answer: unknown = await call.catch((error: unknown) => error)
  if (!(answer instanceof KubeletError)) throw new Error('the call was expected to fail', { cause: answer })
  return answer
}
