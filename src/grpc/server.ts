import { chmodSync } from 'node:fs'
import {
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import type { Clock } from '../core/ports/clock.ts'
import type { Log } from '../core/ports/log.ts'
import { clearSocketPath, socketPathOf } from './socket-path.ts'

export type Service = { definition: ServiceDefinition; implementation: UntypedServiceImplementation }

export type GrpcServerOptions = {
  /** unix:///path of the socket. */
  endpoint: string
  services: readonly Service[]
  log: Log
  clock: Clock
}

export type GrpcServer = {
  /**
   * Accepts no more calls, lets open ones finish for `graceMs`, then cancels them. Removes the socket. Idempotent.
   */
  close(graceMs: number): Promise<void>
}

/** gRPC's own default, explicit because the status for a larger request depends on it. */
const MAX_RECEIVE_BYTES = 4 * 1024 * 1024

/**
 * Serves on a unix socket that only root may open.
 * @throws Error that says why the socket cannot be bound
 */
export async function startGrpcServer({
  endpoint,
  services,
  log,
  clock,
}: GrpcServerOptions): Promise<GrpcServer> {
  const path = socketPathOf(endpoint)
  await clearSocketPath(path)

  const server = new Server({ 'grpc.max_receive_message_length': MAX_RECEIVE_BYTES })
  for (const { definition, implementation } of services) server.addService(definition, implementation)
  await bind(server, path)
  chmodSync(path, 0o600)
  log.info({ socket: path }, 'gRPC server listens')

  let closing: Promise<void> | undefined
  return {
    close(graceMs) {
      closing ??= shutDown(server, graceMs, clock).then((drained) => {
        if (!drained) log.warn({ socket: path, graceMs }, 'open calls were cancelled')
        log.info({ socket: path }, 'gRPC server closed')
      })
      return closing
    },
  }
}

function bind(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) => {
      if (error) reject(new Error(`socket "${path}" cannot be bound: ${error.message}`, { cause: error }))
      else resolve()
    })
  })
}

/** True when every call finished in time. libuv removes the socket's file. */
async function shutDown(server: Server, graceMs: number, clock: Clock): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const cancel = clock.after(graceMs, () => resolve(false))
  // Waits for every session to end, which an idle client may never do.
  server.tryShutdown(() => resolve(true))
  const drained = await promise
  cancel()
  if (!drained) server.forceShutdown()
  return drained
}
