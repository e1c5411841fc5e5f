// The cost of gRPC itself: calls per second of a handler that does nothing, in a process of its own, over a unix
// socket. No publish can be faster than this. Prints one JSON line for each case.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { nodeService } from '../../src/grpc/node.ts'
import { loadService } from '../../src/grpc/proto.ts'
import { startGrpcServer } from '../../src/grpc/server.ts'
import { FakeLog } from '../fakes/log.ts'
import { FakeNodeService } from '../fakes/node-service.ts'
import { connectKubelet, type Kubelet } from '../harness/kubelet/kubelet.ts'
import { realClock } from '../harness/real-clock.ts'

const SECONDS = 2

if (process.argv[2] === 'serve') await serve(process.argv[3] ?? '', process.argv[4] === 'bare')
else await main()

async function main(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'vfc-'))
  try {
    for (const kind of ['bare', 'wrapped']) {
      const endpoint = `unix://${join(directory, `${kind}.sock`)}`
      const child = fork(fileURLToPath(import.meta.url), ['serve', endpoint, kind])
      await once(child, 'message')
      for (const keepConnection of [true, false]) {
        const kubelet = connectKubelet(endpoint, { keepConnection })
        for (const concurrency of [1, 8]) {
          await measure(kubelet, concurrency, 0.5)
          const result = await measure(kubelet, concurrency, SECONDS)
          console.log(JSON.stringify({ handler: kind, keepConnection, concurrency, ...result }))
        }
        kubelet.close()
      }
      child.kill()
      await once(child, 'exit')
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

async function measure(kubelet: Kubelet, concurrency: number, seconds: number) {
  const until = performance.now() + seconds * 1000
  const times: number[] = []
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (performance.now() < until) {
        const startedAt = performance.now()
        await kubelet.getInfo()
        times.push(performance.now() - startedAt)
      }
    }),
  )
  times.sort((left, right) => left - right)
  const at = (share: number) => Number(times[Math.floor(times.length * share)]?.toFixed(3))
  return { callsPerSecond: Math.round(times.length / seconds), p50Ms: at(0.5), p99Ms: at(0.99) }
}

async function serve(endpoint: string, bare: boolean): Promise<void> {
  if (bare) {
    const server = new Server()
    server.addService(loadService('csi.proto', 'csi.v1.Node'), {
      NodeGetInfo: (_call: unknown, callback: (error: null, response: object) => void) => callback(null, {}),
    })
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(endpoint, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      )
    })
  } else {
    const base = { log: new FakeLog(), clock: realClock }
    const services = [nodeService({ ...base, nodeId: 'node-7', node: new FakeNodeService() })]
    await startGrpcServer({ ...base, endpoint, services })
  }
  process.send?.('up')
}
