import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import type { RawPublishRequest } from '../../src/core/publish-request/publish-request.ts'
import { TOKENS_KEY } from '../../src/core/publish-request/service-account-tokens.ts'
import { loadService } from '../../src/grpc/proto.ts'
import { createSyscalls } from '../../src/volume/syscalls.ts'
import { createBareVault } from './bare-vault.ts'

/** What a call to the hop does: nothing, login and read, or that and a tmpfs with the answer in a file. */
export type HopWork = 'nothing' | 'pair' | 'pair-and-tmpfs'

type Settings = {
  endpoint: string
  address: string
  loginPath: string
  role: string
  readPath: string
  audience: string
}

/**
 * The floor on the plugin's own terms: a gRPC server in a process of its own that kubelet calls in the same way, and
 * that does with bare calls only what no plugin can leave out. The import's name says how much (HopWork).
 */
export async function startHop(settings: Settings): Promise<{ endpoint: string; close(): Promise<void> }> {
  const child = fork(fileURLToPath(import.meta.url), ['serve', JSON.stringify(settings)])
  const exited = once(child, 'exit')
  await once(child, 'message')
  return {
    endpoint: settings.endpoint,
    async close() {
      child.kill()
      await exited
    },
  }
}

if (process.argv[2] === 'serve' && process.argv[1] === fileURLToPath(import.meta.url)) {
  await serve(JSON.parse(process.argv[3] ?? '') as Settings)
}

async function serve({ endpoint, address, loginPath, role, readPath, audience }: Settings): Promise<void> {
  const vault = createBareVault(address, 8)
  const kernel = createSyscalls()
  const tokens = new Map<string, string>()

  async function publish(request: RawPublishRequest): Promise<void> {
    const { volume_context: context = {}, target_path: target = '' } = request
    const work = context.secretsStoreImport as HopWork
    if (work === 'nothing') return
    const token = await vault.logIn(loginPath, role, JSON.parse(context[TOKENS_KEY] ?? '{}')[audience].token)
    tokens.set(target, token)
    const answer = await vault.read(readPath, token)
    if (work === 'pair') return
    mkdirSync(target)
    kernel.mount('bench', target, 'tmpfs', 0, 'size=4194304,mode=0755')
    writeFileSync(`${target}/password`, JSON.parse(answer).data.data.password)
  }

  async function unpublish({ target_path: target = '' }: { target_path?: string }): Promise<void> {
    const token = tokens.get(target)
    tokens.delete(target)
    if (token !== undefined) await vault.revoke(token)
    try {
      kernel.unmount(target, 0)
      rmdirSync(target)
    } catch {
      // Only some kinds of work mount.
    }
  }

  const server = new Server()
  server.addService(loadService('csi.proto', 'csi.v1.Node'), {
    NodePublishVolume: answer(publish),
    NodeUnpublishVolume: answer(unpublish),
  })
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(endpoint, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    )
  })
  process.send?.('up')
}

function answer<Request>(work: (request: Request) => Promise<void>) {
  return (call: { request: Request }, callback: (error: Error | null, response?: object) => void) => {
    work(call.request).then(
      () => callback(null, {}),
      (error: Error) => callback(error),
    )
  }
}
